//! Writes the seeds of every target into `corpus/<target>`. Run in the folder `fuzz`.

use std::fs;
use std::io;
use std::path::Path;

use sluicegate_fuzz::identity_seeds::{mapping, stores, subjects};
use sluicegate_fuzz::logins_seeds;
use sluicegate_fuzz::seeds::seeds;

fn main() -> io::Result<()> {
    let seeds = seeds(Path::new("../crates/wire/tests/golden"));
    let auth = Path::new("../crates/auth");
    let targets = [
        ("header", seeds.header),
        ("request", seeds.request),
        ("response", seeds.response),
        ("records", seeds.records),
        ("mapping", mapping()),
        ("subject", subjects(auth)),
        ("store", stores(auth)),
        ("plain", logins_seeds::plain()),
        ("oauthbearer", logins_seeds::oauthbearer()),
        ("relayed", logins_seeds::relayed()),
        ("token", logins_seeds::token()),
        ("jaas", logins_seeds::jaas()),
    ];
    for (target, inputs) in targets {
        let folder = Path::new("corpus").join(target);
        fs::create_dir_all(&folder)?;
        for (number, input) in inputs.iter().enumerate() {
            fs::write(folder.join(format!("seed-{number:05}")), input)?;
        }
        println!("{target}: {} seeds", inputs.len());
    }
    Ok(())
}
