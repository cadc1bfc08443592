//! The sections of the page that stand apart: more accounts than two, an emergency, and AWS's own controller.

use std::fmt::Write;

use anyhow::Result;
use ground::bench::figures::{Emergency, Figures, PhaseFigures, Stage};
use ground::bench::floor::Phase;

use super::chart::per;
use super::document::{Measured, cell, thousands};

/// What the operator may take of resident memory, by users and accounts: steady and, where it is bounded, at most, MiB.
const BOUNDS: [(usize, usize, f64, Option<f64>); 2] = [(10_000, 2, 45.0, Some(72.0)), (50_000, 10, 150.0, None)];

/// Those of which there are figures.
pub(super) fn write(page: &mut String, all: &Measured) -> Result<()> {
    let Some(largest) = all.operator.last() else { return Ok(()) };
    for figures in &all.spread {
        spread(page, figures, largest)?;
    }
    emergencies(page, &all.emergencies)?;
    ack(page, &all.ack, &all.operator)
}

/// What the memory is held to, steady and at most; nothing for peers and for other sizes.
pub(super) fn bound(figures: &Figures) -> String {
    let of_operator = figures.subject == "s3-access-operator";
    let same = |(users, accounts, ..): &&(usize, usize, f64, Option<f64>)| {
        of_operator && *users == figures.users && *accounts == figures.accounts
    };
    match BOUNDS.iter().find(same) {
        Some((_, _, steady, Some(peak))) => format!("{steady:.0} and {peak:.0}"),
        Some((_, _, steady, None)) => format!("{steady:.0}, steady"),
        None => "–".to_owned(),
    }
}

/// Many users over some accounts, beside what they cost in two.
fn spread(page: &mut String, figures: &Figures, two: &Figures) -> Result<()> {
    writeln!(page, "## {} users over {} accounts\n", thousands(figures.users), words(figures.accounts))?;
    writeln!(
        page,
        "One operator; each account is a double of its own, with an S3AccessClass. Where a user costs as much as at {} over two \
         accounts, the cost is linear.\n",
        thousands(two.users)
    )?;
    writeln!(
        page,
        "| Phase | IAM calls, of the floor | a user | at {0} | Writes, of the floor | a user | at {0} | s | Peak MiB | CPU s | API server's CPU s |",
        thousands(two.users)
    )?;
    writeln!(page, "|---|{}", "---:|".repeat(10))?;
    for (phase, here) in &figures.phases {
        let [calls, writes] = each(here);
        let [calls_there, writes_there] =
            two.phases.get(phase).map_or([None, None], |there| each(there).map(Some)).map(cost);
        writeln!(
            page,
            "| {} | {} | {calls:.3} | {calls_there} | {} | {writes:.3} | {writes_there} | {:.0} | {:.1} | {:.1} | {} |",
            phase.name(),
            cell(here.iam()),
            cell(here.writes()),
            here.seconds,
            here.rss_peak_mib,
            here.cpu_seconds,
            here.api_server_cpu_seconds.map_or_else(|| "–".to_owned(), |seconds| format!("{seconds:.1}"))
        )?;
    }
    if figures.phases.contains_key(&Phase::Rest) {
        writeln!(
            page,
            "\nMemory: {:.1} MiB steady, {:.1} MiB at most (bound: {}).",
            figures.rss_steady_mib,
            figures.rss_peak_mib,
            bound(figures)
        )?;
    }
    if let Some(create) = figures.phases.get(&Phase::Create) {
        let cores = |seconds: f64| seconds / create.seconds;
        write!(
            page,
            "\nOne process made {:.0} users a second, with {:.0} calls of IAM and {:.0} writes to Kubernetes a second, and took {:.2} \
             cores",
            per(create.users as u64, 1) / create.seconds,
            per(create.iam().measured, 1) / create.seconds,
            per(create.writes().measured, 1) / create.seconds,
            cores(create.cpu_seconds)
        )?;
        match create.api_server_cpu_seconds {
            Some(seconds) => {
                writeln!(page, ", the API server {:.2}, of the machine's {}.\n", cores(seconds), figures.machine.cores)?
            }
            None => writeln!(page, ".\n")?,
        }
    }
    Ok(())
}

/// Calls of IAM and writes to Kubernetes for each user.
fn each(figures: &PhaseFigures) -> [f64; 2] {
    [figures.iam(), figures.writes()].map(|counted| per(counted.measured, figures.users))
}

fn cost(each: Option<f64>) -> String {
    each.map_or_else(|| "–".to_owned(), |each| format!("{each:.3}"))
}

/// As it is said; large numbers stay digits.
fn words(number: usize) -> String {
    let words =
        ["no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"];
    words.get(number).map_or_else(|| number.to_string(), |word| (*word).to_owned())
}

fn emergencies(page: &mut String, all: &[Figures]) -> Result<()> {
    let all: Vec<&Emergency> = all.iter().filter_map(|figures| figures.emergency.as_ref()).collect();
    let Some(first) = all.first() else { return Ok(()) };
    writeln!(page, "## All keys of an account at once\n")?;
    writeln!(
        page,
        "The annotation `s3access.dev/rotate` on all users of one account. The operator has its shipped settings; the double \
         takes {} calls of IAM a second, and as many at once, since AWS takes about so many. Replaced keys work on through their \
         overlap, which is longer than all new ones take, as by default, and are inactive for as long again. The simulation steps the operator's own limiter through \
         the calls that were counted, and leaves out what else is waited for: the consistency window of a minute before a new key \
         is swapped in, and the overlap. A key that has leaked is [revoked](security.md#how-fast-access-goes) instead.\n",
        first.requests_per_second
    )?;
    writeln!(
        page,
        "| Users | | Until every workload has its new key | Then, until all old keys are gone | Refused as throttled |"
    )?;
    writeln!(page, "|---:|---|---:|---:|---:|")?;
    for one in &all {
        let retired = one.old_keys.seconds - one.new_keys.seconds;
        writeln!(
            page,
            "| {} | measured | {} | {}, with an overlap of {} | {} |",
            thousands(one.users),
            time(one.new_keys.seconds),
            time(retired),
            time(one.overlap_seconds),
            one.new_keys.refused + one.old_keys.refused
        )?;
        for simulated in &one.simulated {
            writeln!(
                page,
                "| {} | simulated, calls alone | {} | {} | {} |",
                thousands(simulated.users),
                time(simulated.new_keys_seconds),
                time(simulated.old_keys_seconds),
                simulated.refused
            )?;
        }
    }
    writeln!(page, "\nCalls for each user, as counted:\n")?;
    for one in &all {
        writeln!(page, "- {} users, until the new key: {}.", thousands(one.users), calls(&one.new_keys, one.users))?;
        writeln!(page, "- {} users, to end the old one: {}.", thousands(one.users), calls(&one.old_keys, one.users))?;
    }
    writeln!(page)?;
    Ok(())
}

/// The calls of a part, for each user; what is too seldom to count for one is left out.
fn calls(stage: &Stage, users: usize) -> String {
    let sum = |calls: &std::collections::BTreeMap<String, u64>| per(calls.values().sum(), users);
    let each: Vec<String> = stage
        .iam_calls
        .iter()
        .filter(|(_, count)| per(**count, users) >= 0.05)
        .map(|(call, count)| format!("{call} {:.1}", per(*count, users)))
        .collect();
    format!("{:.1} of IAM ({}), {:.1} of STS", sum(&stage.iam_calls), each.join(", "), sum(&stage.sts_calls))
}

/// Seconds, as people say them.
fn time(seconds: f64) -> String {
    if seconds < 600.0 { format!("{seconds:.0} s") } else { format!("{:.0} min", seconds / 60.0) }
}

/// AWS's own controller beside the operator, at the sizes of which there are figures of both.
fn ack(page: &mut String, ack: &[Figures], operator: &[Figures]) -> Result<()> {
    let beside = |peer: &Figures| operator.iter().find(|ours| ours.users == peer.users);
    let pairs: Vec<(&Figures, &Figures)> = ack.iter().filter_map(|peer| Some((peer, beside(peer)?))).collect();
    let Some((peer, _)) = pairs.first() else { return Ok(()) };
    let version = peer.versions.get("iam-controller").map_or_else(String::new, |version| format!(" {version}"));
    let phases = [Phase::Create, Phase::Rest, Phase::Restart, Phase::Sweep, Phase::Delete];
    writeln!(page, "## Beside AWS's own controller\n")?;
    writeln!(
        page,
        "ACK's iam-controller{version} on the same servers: a User with path, tags and an inline policy for each S3AccessUser, all \
         in one account. It makes no keys and no Secrets, so that what the operator does of these is more work, and there is \
         nothing to rotate; its sweep is its resync. It reconciles sixteen at once, and has its defaults otherwise; after what it \
         has made it pauses for half a minute, which is most of the seconds of `create`. Measured on {}, \
         {} cores.\n",
        peer.machine.processor, peer.machine.cores
    )?;
    writeln!(page, "| | | Users | {} |", phases.map(Phase::name).join(" | "))?;
    writeln!(page, "|---|---|---:|{}", "---:|".repeat(phases.len()))?;
    type Told = fn(&PhaseFigures) -> String;
    let rows: [(&str, Told); 5] = [
        ("IAM calls a user", |phase| format!("{:.2}", each(phase)[0])),
        ("Writes to Kubernetes a user", |phase| format!("{:.2}", each(phase)[1])),
        ("Seconds", |phase| format!("{:.1}", phase.seconds)),
        ("CPU s", |phase| format!("{:.1}", phase.cpu_seconds)),
        ("Peak MiB", |phase| format!("{:.1}", phase.rss_peak_mib)),
    ];
    for (title, of) in rows {
        for figures in pairs.iter().flat_map(|(peer, ours)| [ours, peer]) {
            write!(page, "| {title} | {} | {} |", figures.subject, thousands(figures.users))?;
            for phase in phases {
                write!(page, " {} |", figures.phases.get(&phase).map_or_else(|| "–".to_owned(), of))?;
            }
            writeln!(page)?;
        }
    }
    writeln!(page)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use ground::bench::figures::{Against, Simulated};
    use ground::bench::floor::PolicyKind;

    use super::*;

    fn figures(users: usize, accounts: usize, subject: &str) -> Figures {
        let mut figures = Figures::new(users, subject, PolicyKind::Inline);
        figures.accounts = accounts;
        let count = users as u64 * 3;
        let iam_calls = [("CreateUser".to_owned(), Against { measured: count, floor: count })].into();
        let create = PhaseFigures { users, seconds: 10.0, iam_calls, cpu_seconds: 5.0, ..PhaseFigures::default() };
        figures.add(Phase::Create, PhaseFigures { api_server_cpu_seconds: Some(8.0), ..create });
        figures
    }

    fn stage(seconds: f64, each: u64) -> Stage {
        Stage { seconds, iam_calls: [("GetUser".to_owned(), each * 300)].into(), sts_calls: [].into(), refused: 1 }
    }

    #[test]
    fn each_section_is_there_where_there_are_figures_and_not_before() {
        let mut all = Measured {
            operator: vec![figures(100, 2, "s3-access-operator"), figures(10_000, 2, "s3-access-operator")],
            yardstick: Vec::new(),
            spread: Vec::new(),
            emergencies: Vec::new(),
            ack: Vec::new(),
        };
        let written = |all: &Measured| {
            let mut page = String::new();
            write(&mut page, all).unwrap();
            page
        };
        assert_eq!(written(&all), "");
        all.spread = vec![figures(50_000, 10, "s3-access-operator")];
        let mut emergency = figures(300, 1, "s3-access-operator");
        let simulated = Simulated { users: 5_000, new_keys_seconds: 1_500.0, old_keys_seconds: 2_500.0, refused: 0 };
        emergency.emergency = Some(Emergency {
            users: 300,
            requests_per_second: 10,
            overlap_seconds: 400.0,
            new_keys: stage(160.0, 3),
            old_keys: stage(800.0, 5),
            simulated: vec![simulated],
        });
        all.emergencies = vec![emergency];
        all.ack = vec![figures(100, 2, "ACK iam-controller"), figures(5, 2, "ACK iam-controller")];
        let page = written(&all);
        for line in [
            "## 50,000 users over ten accounts",
            "| create | 150000 / 150000 (1.00) | 3.000 | 3.000 | 0 / 0 (1.00) | 0.000 | 0.000 | 10 | 0.0 | 5.0 | 8.0 |",
            "One process made 5000 users a second, with 15000 calls of IAM and 0 writes to Kubernetes a second, and took 0.50 cores, the API server 0.80, of the machine's 0.",
            "| 300 | measured | 160 s | 11 min, with an overlap of 400 s | 2 |",
            "| 5,000 | simulated, calls alone | 25 min | 42 min | 0 |",
            "- 300 users, until the new key: 3.0 of IAM (GetUser 3.0), 0.0 of STS.",
            "| IAM calls a user | ACK iam-controller | 100 | 3.00 | – | – | – | – |",
        ] {
            assert!(page.lines().any(|written| written == line), "{line} is not in\n{page}");
        }
        assert!(!page.contains("ACK iam-controller | 5 |"), "there is nothing beside it");
    }

    #[test]
    fn memory_is_bound_at_the_sizes_that_were_promised() {
        let bound = |users, accounts, subject| bound(&figures(users, accounts, subject));
        assert_eq!(bound(10_000, 2, "s3-access-operator"), "45 and 72");
        assert_eq!(bound(50_000, 10, "s3-access-operator"), "150, steady");
        assert_eq!(bound(10_000, 2, "yardstick"), "–");
        assert_eq!(bound(10_000, 10, "s3-access-operator"), "–");
    }
}
