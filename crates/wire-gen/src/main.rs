//! Writes the schema table of the wire crate from the message definitions inside a `kafka-clients` jar.
//!
//! ```text
//! cargo run -p sluicegate-wire-gen -- kafka-clients-4.3.0.jar crates/wire/src/schema/generated.rs
//! ```
//!
//! The output depends on the jar and on [`overrides`] only, so that running it again on the same jar changes nothing.

mod definition;
mod emit;
mod overrides;

use std::process::ExitCode;
use std::{env, fs};

use definition::Error;

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    let [jar, output] = args.as_slice() else {
        eprintln!("usage: sluicegate-wire-gen <kafka-clients jar> <output file>");
        return ExitCode::from(64);
    };
    match generate(jar, output) {
        Ok(summary) => {
            println!("{summary}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn generate(jar: &str, output: &str) -> Result<String, Error> {
    let mut source = definition::read_jar(jar)?;
    overrides::apply(&mut source.apis)?;
    let table = emit::table(&source);
    fs::write(output, &table).map_err(|error| Error::File {
        path: output.to_owned(),
        error,
    })?;
    Ok(format!(
        "{}: kafka-clients {}, {} API keys, {} lines",
        output,
        source.version,
        source.apis.len(),
        table.lines().count()
    ))
}
