//! `completions`: for the shells of people.

use std::io::Write;

use clap::{Args, CommandFactory};
use clap_complete::{Shell, generate};

use super::{Cli, Error};

#[derive(Args, Debug)]
pub(super) struct Options {
    /// The shell
    shell: Shell,
}

pub(super) fn print(options: &Options) -> Result<(), Error> {
    Ok(std::io::stdout().write_all(&script(options.shell))?)
}

fn script(shell: Shell) -> Vec<u8> {
    let mut script = Vec::new();
    generate(shell, &mut Cli::command(), "s3-access-operator", &mut script);
    script
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum;

    use super::{Shell, script};

    #[test]
    fn every_shell_learns_every_command() {
        for shell in Shell::value_variants() {
            let script = String::from_utf8(script(*shell)).unwrap();
            for command in ["completions", "crd", "doctor", "plan", "render", "rotate", "run", "status"] {
                assert!(script.contains(command), "{shell}: {command}");
            }
        }
    }
}
