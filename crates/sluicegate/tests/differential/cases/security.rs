//! ACLs (the brokers have no authorizer), SCRAM credentials, SASL where there is none.

use serde_json::{Value, json};
use testkit::Result;
use wire::api::ApiKey;

use crate::side::Run;

pub(crate) fn describe_acls(run: &mut Run<'_>) -> Result<()> {
    run.ask(1, "any", filter())?;
    Ok(())
}

pub(crate) fn create_acls(run: &mut Run<'_>) -> Result<()> {
    let creation = json!({
        "ResourceType": 2,
        "ResourceName": "diff-s-orders",
        "Principal": "User:nobody",
        "Host": "*",
        "Operation": 3,
        "PermissionType": 3,
    });
    run.ask(1, "one", json!({ "Creations": [creation] }))?;
    run.ask(1, "nothing", json!({}))?;
    Ok(())
}

pub(crate) fn delete_acls(run: &mut Run<'_>) -> Result<()> {
    run.ask(1, "any", json!({ "Filters": [filter()] }))?;
    run.ask(1, "nothing", json!({}))?;
    Ok(())
}

/// Any ACL.
fn filter() -> Value {
    json!({
        "ResourceTypeFilter": 1,
        "ResourceNameFilter": null,
        "PatternTypeFilter": 1,
        "PrincipalFilter": null,
        "HostFilter": null,
        "Operation": 1,
        "PermissionType": 1,
    })
}

pub(crate) fn describe_scram(run: &mut Run<'_>) -> Result<()> {
    let user = run.name("described");
    run.must(1, ApiKey::ALTER_USER_SCRAM_CREDENTIALS, 0, upsert(&user, 1))?;
    let request = |users: &[&str]| {
        let users: Vec<Value> = users.iter().map(|name| json!({ "Name": name })).collect();
        json!({ "Users": users })
    };
    // Brokers learn of it from the metadata log.
    run.until("a new user to be known", |run| {
        let body = request(&[&user]);
        let answer = run.step(1, ApiKey::DESCRIBE_USER_SCRAM_CREDENTIALS, 0, body)?;
        Ok((answer["Results"][0]["ErrorCode"] == 0).then_some(()))
    })?;
    run.ask(1, "new", request(&[&user]))?;
    run.ask(
        2,
        "known and not",
        request(&["admin", "alice", "diff-s-nobody"]),
    )?;
    run.ask(3, "twice", request(&["admin", "admin"]))?;
    Ok(())
}

pub(crate) fn alter_scram(run: &mut Run<'_>) -> Result<()> {
    let user = run.name("altered");
    let delete = |user: &str| json!({ "Deletions": [{ "Name": user, "Mechanism": 1 }] });
    run.ask(1, "upsert", upsert(&user, 1))?;
    run.ask(1, "bad mechanism", upsert(&user, 9))?;
    run.ask(2, "delete", delete(&user))?;
    run.ask(3, "delete again", delete(&user))?;
    run.ask(1, "no name", upsert("", 1))?;
    let mut both = upsert(&user, 1);
    both["Deletions"] = delete(&user)["Deletions"].clone();
    run.ask(1, "both", both)?;
    run.ask(1, "nothing", json!({}))?;
    Ok(())
}

fn upsert(user: &str, mechanism: i8) -> Value {
    json!({ "Upsertions": [{
        "Name": user,
        "Mechanism": mechanism,
        "Iterations": 4096,
        "Salt": "00112233445566778899aabbccddeeff",
        "SaltedPassword": "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff",
    }] })
}

pub(crate) fn sasl_handshake(run: &mut Run<'_>) -> Result<()> {
    run.ask(1, "plain", json!({ "Mechanism": "PLAIN" }))?;
    Ok(())
}

pub(crate) fn sasl_authenticate(run: &mut Run<'_>) -> Result<()> {
    let body = json!({ "AuthBytes": "006e6f626f6479006e6f7468696e67" });
    let (api, version) = (run.api, run.version);
    let mut answer = run.step(1, api, version, body)?;
    // The gateway answers itself, without a text.
    answer["ErrorMessage"] = Value::Null;
    run.note("nobody", &answer);
    Ok(())
}
