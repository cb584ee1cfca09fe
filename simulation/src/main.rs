//! `cargo xtask simulate`: prints the counts, and fails if a client has found something wrong.

use std::process::ExitCode;

use realtime_worker_simulation::{Plan, simulate};

const USAGE: &str = "\
Usage: cargo xtask simulate [--sockets N] [--relays N] [--steps N] [--interval MILLISECONDS] [--seed N]";

fn main() -> ExitCode {
    let plan = match read(std::env::args().skip(1)) {
        Ok(plan) => plan,
        Err(reason) => {
            eprintln!("error: {reason}\n\n{USAGE}");
            return ExitCode::FAILURE;
        }
    };
    let Plan { sockets, relays, steps, interval, seed } = plan;
    println!("{sockets} sockets, {relays} relays, 3 times {steps} publications, {interval} ms apart, seed {seed}");
    let report = simulate(plan, |name, counts| println!("{name}:\n{counts}"));
    println!("{}", report.mistakes);
    if report.mistakes.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn read(mut arguments: impl Iterator<Item = String>) -> Result<Plan, String> {
    let mut plan = Plan::default();
    while let Some(name) = arguments.next() {
        let value = arguments.next().ok_or_else(|| format!("{name} has no value"))?;
        let number: u64 = value.parse().ok().filter(|number| *number > 0).ok_or_else(|| format!("{name} {value}"))?;
        let small = |most: u64| if number <= most { Ok(number) } else { Err(format!("{name} is at most {most}")) };
        match name.as_str() {
            "--sockets" => plan.sockets = small(4_000_000)? as usize,
            "--relays" => plan.relays = small(64)? as u32,
            "--steps" => plan.steps = small(3_000)? as usize,
            "--interval" => plan.interval = small(60_000)?,
            "--seed" => plan.seed = number,
            _ => return Err(format!("{name} is no option")),
        }
    }
    Ok(plan)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_all(words: &str) -> Result<Plan, String> {
        read(words.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn options_are_read_and_wrong_ones_are_refused() {
        let plan = Plan { sockets: 10, relays: 2, ..Plan::default() };
        assert_eq!(read_all("--sockets 10 --relays 2"), Ok(plan));
        for wrong in ["--sockets", "--sockets x", "--relays 0", "--relays 65", "--stops 3"] {
            assert!(read_all(wrong).is_err(), "{wrong}");
        }
    }
}
