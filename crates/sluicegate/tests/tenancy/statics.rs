//! A large group of static members.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use testkit::{Result, wait};
use wire::api::ApiKey;

use crate::ask::{self, Kind};
use crate::caller::Caller;
use crate::message::{hex, unhex};
use crate::prepare::{assignment, join_request, subscription};
use crate::scale;
use crate::world::{LIMIT, World};

/// Members with the longest names come together; whoever leads reads logical names only.
#[test]
fn many_static_members_come_together() -> Result<()> {
    let world = World::get()?;
    let tenant = world.tenant("crowd")?;
    let mut root = tenant.root()?;
    ask::topic(&mut root, "orders", 1)?;
    let node = ask::coordinator(&mut root, Kind::Group, "crowd")?;
    let count = scale(20).min(50) as usize;
    let crowd = Crowd {
        node,
        count,
        together: AtomicBool::new(false),
        problems: Mutex::new(Vec::new()),
    };
    std::thread::scope(|scope| {
        for number in 0..count {
            let (crowd, caller) = (&crowd, root.again());
            scope.spawn(move || {
                if let Err(problem) = crowd.member(caller, number) {
                    crowd.complain(format!("member {number}: {problem}"));
                }
            });
        }
    });
    let problems = crowd.problems.into_inner().unwrap_or_default();
    assert!(problems.is_empty(), "{}", problems.join("\n"));
    assert!(crowd.together.load(Ordering::Relaxed));
    Ok(())
}

struct Crowd {
    node: i32,
    count: usize,
    /// A leader has seen everybody.
    together: AtomicBool,
    problems: Mutex<Vec<String>>,
}

impl Crowd {
    fn complain(&self, problem: String) {
        if let Ok(mut problems) = self.problems.lock() {
            problems.push(problem);
        }
        // Nobody waits for who has given up.
        self.together.store(true, Ordering::Relaxed);
    }

    /// Joins, and joins again whenever others have come, until everybody is there.
    fn member(&self, mut caller: Caller, number: usize) -> Result<()> {
        const REBALANCE_IN_PROGRESS: i64 = 27;
        let instance = format!("{number:03}-{}", "i".repeat(245));
        let mut id = String::new();
        wait::until("everybody to be there", LIMIT, || {
            let mut join = join_request("crowd", &id, "orders");
            join["GroupInstanceId"] = json!(instance);
            let joined = caller.ask(self.node, ApiKey::JOIN_GROUP, 7, &join)?;
            if joined["ErrorCode"] != 0 {
                return Ok(None);
            }
            id = joined["MemberId"].as_str().unwrap_or_default().to_owned();
            let sync = self.sync(&joined, &id, &instance);
            let synced = caller.ask(self.node, ApiKey::SYNC_GROUP, 5, &sync)?;
            if synced["ErrorCode"] == 0 {
                let given = synced["Assignment"].as_str().unwrap_or_default();
                if unhex(given) != assignment("orders") {
                    self.complain(format!("assigned {given}"));
                }
            }
            let beat = json!({
                "GroupId": "crowd",
                "GenerationId": joined["GenerationId"],
                "MemberId": id,
                "GroupInstanceId": instance,
            });
            while !self.together.load(Ordering::Relaxed) {
                let answer = caller.ask(self.node, ApiKey::HEARTBEAT, 4, &beat)?;
                if answer["ErrorCode"] == REBALANCE_IN_PROGRESS {
                    return Ok(None);
                }
                std::thread::sleep(Duration::from_millis(50));
            }
            Ok(Some(()))
        })
    }

    /// What a member sends after joining; a leader looks at everybody's subscription.
    fn sync(&self, joined: &Value, id: &str, instance: &str) -> Value {
        let members = joined["Members"].as_array().map_or(&[][..], Vec::as_slice);
        for member in members {
            let metadata = member["Metadata"].as_str().unwrap_or_default();
            if unhex(metadata) != subscription("orders") {
                self.complain(format!("the leader reads {metadata}"));
            }
        }
        if members.len() == self.count {
            self.together.store(true, Ordering::Relaxed);
        }
        let assignments: Vec<Value> = members
            .iter()
            .map(|member| {
                let given = hex(&assignment("orders"));
                json!({ "MemberId": member["MemberId"], "Assignment": given })
            })
            .collect();
        json!({
            "GroupId": "crowd",
            "GenerationId": joined["GenerationId"],
            "MemberId": id,
            "GroupInstanceId": instance,
            "ProtocolType": "consumer",
            "ProtocolName": "range",
            "Assignments": assignments,
        })
    }
}
