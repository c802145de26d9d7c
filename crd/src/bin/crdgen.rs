//! Writes the CustomResourceDefinition as YAML: `crdgen [--out FILE | --check FILE]`, else to standard output.

use std::io::{Error, Write};
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments.iter().map(String::as_str).collect::<Vec<_>>()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("crdgen: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[&str]) -> Result<(), Error> {
    let yaml = mainstay_crd::manifest::yaml().map_err(Error::other)?;
    match arguments {
        [] => std::io::stdout().write_all(yaml.as_bytes()),
        ["--out", file] => std::fs::write(file, yaml),
        ["--check", file] if std::fs::read_to_string(file)? == yaml => Ok(()),
        ["--check", file] => Err(Error::other(format!("{file} differs from the types; write it with --out"))),
        _ => Err(Error::other("usage: crdgen [--out FILE | --check FILE]")),
    }
}
