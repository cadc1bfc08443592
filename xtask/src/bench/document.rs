//! The documentation's page: made from the figures that lie beside it, and from nothing else.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use ground::bench::figures::{Against, Figures, PhaseFigures};
use ground::bench::floor::{FLOOR, Phase, PolicyKind, Service};
use ground::repository;

use super::apart;
use super::chart::{self, per};

fn folder() -> PathBuf {
    repository().join("deploy/docs")
}

/// Where figures and charts lie.
pub(super) fn figures() -> PathBuf {
    folder().join("bench")
}

/// All figures that there are.
pub(super) struct Measured {
    /// Of the operator, with users in two accounts; smallest first, as all.
    pub(super) operator: Vec<Figures>,
    /// Of the yardstick.
    pub(super) yardstick: Vec<Figures>,
    /// Of the operator, with users in another number of accounts.
    pub(super) spread: Vec<Figures>,
    /// Of emergencies.
    pub(super) emergencies: Vec<Figures>,
    /// Of AWS's own controller.
    pub(super) ack: Vec<Figures>,
}

impl Measured {
    fn read() -> Result<Self> {
        Ok(Self {
            operator: read("operator-")?,
            yardstick: read("yardstick-")?,
            spread: read("accounts-")?,
            emergencies: read("emergency-")?,
            ack: read("ack-")?,
        })
    }
}

/// Writes the page and the charts.
pub(super) fn write() -> Result<()> {
    let all = Measured::read()?;
    let Measured { operator, yardstick, .. } = &all;
    let largest = operator.last().context("there are no figures: run `cargo xtask bench`")?;
    let peer = yardstick.iter().find(|figures| figures.users == largest.users);
    let charts = figures();
    fs::write(charts.join("memory.svg"), chart::memory(operator, yardstick)?)?;
    let title = |what: &str| format!("{what} a user, at {} users", thousands(largest.users));
    let iam =
        chart::calls(&title("IAM calls"), largest, peer, |figures, phase| figures.iam_calls.get(&phase).copied())?;
    fs::write(charts.join("iam-calls.svg"), iam)?;
    let writes = chart::calls(&title("Writes to Kubernetes"), largest, peer, |figures, phase| {
        figures.kubernetes_writes.get(&phase).copied()
    })?;
    fs::write(charts.join("kubernetes-writes.svg"), writes)?;
    fs::write(folder().join("bench.md"), page(&all)?)?;
    println!("written: deploy/docs/bench.md and the charts in deploy/docs/bench");
    Ok(())
}

/// The figures of all sizes, smallest first.
fn read(prefix: &str) -> Result<Vec<Figures>> {
    let folder = figures();
    let mut all = Vec::new();
    for entry in fs::read_dir(&folder).with_context(|| format!("reading {}", folder.display()))? {
        let path = entry?.path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        if name.starts_with(prefix) && path.extension().is_some_and(|extension| extension == "json") {
            all.push(parse(&path)?);
        }
    }
    all.sort_by_key(|figures| figures.users);
    Ok(all)
}

fn parse(path: &Path) -> Result<Figures> {
    let text = fs::read_to_string(path)?;
    serde_json::from_str(&text).with_context(|| format!("reading {}", path.display()))
}

fn page(all: &Measured) -> Result<String> {
    let mut page = String::new();
    let Measured { operator, yardstick, .. } = all;
    let largest = operator.last().context("no figures")?;
    let machine = &largest.machine;
    writeln!(page, "<!-- Written by `cargo xtask bench`: change that, not this. -->")?;
    writeln!(page, "# What it costs\n")?;
    writeln!(
        page,
        "`cargo xtask bench` measures the release binary, as its shipped service account and with its shipped IAM policy, \
         against a real API server, etcd and controller manager, and two strict doubles of AWS, each an account in a process \
         of its own. Half of the users are in the one account, half in the other, each with an S3AccessClass; what was measured \
         otherwise has a section of its own. The policies are {}. The limit of requests a second is raised to 1,000 for each account, so that the operator is measured and \
         not its limit, and the consistency window is 2 s, since the doubles do not lag.\n",
        policy(largest.policy)
    )?;
    writeln!(
        page,
        "Measured on {}, {} cores, {} GiB, which others used at the same time (load {:.1} before the largest run): counts, \
         ratios and memory do not depend on that, seconds do. Versions: {}.\n",
        machine.processor,
        machine.cores,
        machine.memory_gib,
        machine.load_before,
        largest.versions.iter().map(|(name, version)| format!("{name} {version}")).collect::<Vec<_>>().join(", ")
    )?;
    memory(&mut page, operator, yardstick)?;
    calls(&mut page, operator, yardstick)?;
    times(&mut page, operator, yardstick)?;
    trials(&mut page, operator)?;
    unasked(&mut page, operator)?;
    apart::write(&mut page, all)?;
    details(&mut page, largest)?;
    floors(&mut page, largest.policy)?;
    Ok(page)
}

fn memory(page: &mut String, operator: &[Figures], yardstick: &[Figures]) -> Result<()> {
    writeln!(page, "## Memory and CPU\n\n![Resident memory](bench/memory.svg)\n")?;
    writeln!(
        page,
        "| | Users | Steady MiB | Peak MiB | Bound | CPU s, all phases | CPU at rest |\n|---|---:|---:|---:|---:|---:|---:|"
    )?;
    for figures in operator.iter().chain(yardstick) {
        writeln!(
            page,
            "| {} | {} | {:.1} | {:.1} | {} | {:.1} | {:.2} % of a core |",
            figures.subject,
            thousands(figures.users),
            figures.rss_steady_mib,
            figures.rss_peak_mib,
            apart::bound(figures),
            figures.cpu_seconds,
            figures.idle_cpu_percent
        )?;
    }
    writeln!(page)?;
    for (name, all) in [("operator", operator), ("yardstick", yardstick)] {
        if let Some(Fit { base, slope, off }) = fit(all) {
            writeln!(
                page,
                "The {name}'s steady memory fits {base:.1} MiB + {:.2} KiB a user; no size is more than {off:.1} MiB off that \
                 line.\n",
                slope * 1024.0
            )?;
        }
    }
    Ok(())
}

struct Fit {
    base: f64,
    slope: f64,
    off: f64,
}

/// The line of least squares through the steady memory, MiB.
#[expect(clippy::cast_precision_loss, reason = "users are far fewer than 2^52")]
fn fit(all: &[Figures]) -> Option<Fit> {
    if all.len() < 2 {
        return None;
    }
    let points: Vec<(f64, f64)> = all.iter().map(|figures| (figures.users as f64, figures.rss_steady_mib)).collect();
    let count = points.len() as f64;
    let mean_x = points.iter().map(|(x, _)| x).sum::<f64>() / count;
    let mean_y = points.iter().map(|(_, y)| y).sum::<f64>() / count;
    let covariance: f64 = points.iter().map(|(x, y)| (x - mean_x) * (y - mean_y)).sum();
    let variance: f64 = points.iter().map(|(x, _)| (x - mean_x).powi(2)).sum();
    let slope = covariance / variance;
    let base = mean_y - slope * mean_x;
    let off = points.iter().map(|(x, y)| (base + slope * x - y).abs()).fold(0.0, f64::max);
    Some(Fit { base, slope, off })
}

fn calls(page: &mut String, operator: &[Figures], yardstick: &[Figures]) -> Result<()> {
    writeln!(
        page,
        "## Calls\n\n![IAM calls](bench/iam-calls.svg)\n\n![Writes to Kubernetes](bench/kubernetes-writes.svg)\n"
    )?;
    writeln!(
        page,
        "Measured / floor, and the ratio. Events and the Lease are apart; STS stands under [Each call](#each-call).\n"
    )?;
    for (title, of) in [
        ("IAM calls", PhaseFigures::iam as fn(&PhaseFigures) -> Against),
        ("Writes to Kubernetes", PhaseFigures::writes),
    ] {
        writeln!(page, "### {title}\n")?;
        let columns = Phase::ALL.map(Phase::name).join(" | ");
        writeln!(page, "| | Users | {columns} |\n|---|---:|{}", "---:|".repeat(Phase::ALL.len()))?;
        for figures in operator.iter().chain(yardstick) {
            write!(page, "| {} | {} |", figures.subject, thousands(figures.users))?;
            for phase in Phase::ALL {
                let cell = figures.phases.get(&phase).map_or_else(|| "–".to_owned(), |phase| cell(of(phase)));
                write!(page, " {cell} |")?;
            }
            writeln!(page)?;
        }
        writeln!(page)?;
    }
    writeln!(
        page,
        "`rest` touches the labels of all users, breaks every watch by a restart of the API server, and then waits; `sweep` \
         is one whole resync interval, of which `rest` meets a few users whose turn falls into it; `rotate` is of 10,000 users at most, and ends when the old keys are gone; `dark` is about users of one account while \
         the other does not answer.\n"
    )?;
    Ok(())
}

pub(super) fn cell(against: Against) -> String {
    let ratio = against.ratio().map_or_else(|| "–".to_owned(), |ratio| format!("{ratio:.2}"));
    format!("{} / {} ({ratio})", against.measured, against.floor)
}

fn times(page: &mut String, operator: &[Figures], yardstick: &[Figures]) -> Result<()> {
    writeln!(page, "## Time\n\nSeconds from the request; all users are created, rotated and deleted at once.\n")?;
    writeln!(page, "| | Users | Ready p50 | Ready p99 | All Ready | All rotated | All deleted | Queue at most |")?;
    writeln!(page, "|---|---:|---:|---:|---:|---:|---:|---:|")?;
    for figures in operator.iter().chain(yardstick) {
        let seconds = |phase| figures.phases.get(&phase).map_or(0.0, |phase| phase.seconds);
        let depth = figures.phases.values().filter_map(|phase| phase.queue_depth_max).max();
        writeln!(
            page,
            "| {} | {} | {:.1} | {:.1} | {:.1} | {:.1} | {:.1} | {} |",
            figures.subject,
            thousands(figures.users),
            figures.ready_seconds.p50,
            figures.ready_seconds.p99,
            figures.ready_seconds.total,
            seconds(Phase::Rotate),
            seconds(Phase::Delete),
            depth.map_or_else(|| "–".to_owned(), |depth| depth.to_string())
        )?;
    }
    writeln!(page)?;
    for figures in operator.iter().chain(yardstick) {
        let Some(double) = &figures.double else { continue };
        let create = figures.phases.get(&Phase::Create);
        let made = create.map_or(0.0, |create| per(create.iam().measured, 1) / create.seconds);
        let own = double
            .calls_per_cpu_second
            .map_or_else(String::new, |calls| format!(", {calls:.0} for each second of its own CPU time"));
        writeln!(
            page,
            "- {}, {} users: {made:.0} IAM calls a second in `create`, in all; one double answered {:.0} calls a second to one \
             client{own}.",
            figures.subject,
            thousands(figures.users),
            double.calls_per_second
        )?;
    }
    writeln!(page)?;
    Ok(())
}

fn trials(page: &mut String, operator: &[Figures]) -> Result<()> {
    writeln!(page, "## One among many\n")?;
    for figures in operator {
        let users = thousands(figures.users);
        if let Some(one) = &figures.overtaking {
            let busy = match one.busy_seconds {
                Some(busy) => format!("{busy:.2} s, {:.1} times as long", busy / one.idle_seconds),
                None => format!("not within {:.0} s", one.patience_seconds),
            };
            writeln!(
                page,
                "- {users} users, {} rotations waiting at {} requests a second: a new user is Ready after {:.2} s with nothing \
                 else to do, and among them after {busy}.",
                thousands(one.waiting),
                one.requests_per_second,
                one.idle_seconds
            )?;
        }
        if let Some(dark) = &figures.dark {
            writeln!(
                page,
                "- {users} users, one account in the dark: the other account's next {} users are Ready after {:.2} s; {:.2} s \
                 before.",
                figures.phases.get(&Phase::Dark).map_or(0, |phase| phase.users),
                dark.dark_seconds,
                dark.light_seconds
            )?;
        }
        if let Some(unrelated) = &figures.unrelated_secrets {
            writeln!(
                page,
                "- {users} users, {} Secrets of others of {} bytes each: {:.1} MiB after a start, {:.1} MiB without them.",
                thousands(unrelated.secrets),
                thousands(unrelated.bytes),
                unrelated.after_mib,
                unrelated.before_mib
            )?;
        }
    }
    writeln!(page)?;
    Ok(())
}

fn unasked(page: &mut String, operator: &[Figures]) -> Result<()> {
    if operator.iter().all(|figures| figures.listening.is_none() && figures.renewals.is_none()) {
        return Ok(());
    }
    writeln!(page, "## What nobody asks for\n")?;
    for figures in operator {
        let users = thousands(figures.users);
        if let Some(listening) = &figures.listening {
            let [alarm, report] = listening.calls_each();
            writeln!(
                page,
                "- {users} users, for each account in an interval: {alarm:.1} calls of IAM for AWS's alarm of keys in public, {report:.1} for the credential report.",
            )?;
        }
        if let Some(renewals) = &figures.renewals {
            let [sts, iam] = renewals.calls_each();
            writeln!(
                page,
                "- {} sessions beside {users} users: {sts:.1} calls of STS and {iam:.1} of IAM for each in half of its life.",
                renewals.sessions
            )?;
        }
    }
    writeln!(page)?;
    Ok(())
}

fn details(page: &mut String, figures: &Figures) -> Result<()> {
    writeln!(
        page,
        "## Each call\n\nThe operator at {} users; measured / floor, and the ratio.\n",
        thousands(figures.users)
    )?;
    writeln!(page, "| Phase | Call | |\n|---|---|---:|")?;
    for (phase, figures) in &figures.phases {
        let tables = [&figures.iam_calls, &figures.sts_calls, &figures.kubernetes_requests];
        for (call, against) in tables.into_iter().flatten() {
            writeln!(page, "| {} | {call} | {} |", phase.name(), cell(*against))?;
        }
    }
    writeln!(page, "\nLooks at users by how they ended, those that are looked at again among them:\n")?;
    for (phase, figures) in figures.phases.iter().filter(|(_, figures)| !figures.reconciles.is_empty()) {
        let looks: Vec<String> = figures.reconciles.iter().map(|(result, count)| format!("{count} {result}")).collect();
        writeln!(page, "- {}: {}", phase.name(), looks.join(", "))?;
    }
    writeln!(page)?;
    Ok(())
}

fn floors(page: &mut String, kind: PolicyKind) -> Result<()> {
    writeln!(
        page,
        "## The floor\n\nWhat each phase costs at least, with {}, and why. What is not here has a floor of 0.\n",
        policy(kind)
    )?;
    writeln!(page, "| Phase | Call | Once for | Why |\n|---|---|---|---|")?;
    for line in FLOOR.iter().filter(|line| line.policy.is_none_or(|policy| policy == kind)) {
        let service = match line.service {
            Service::Iam => "iam:",
            Service::Sts => "sts:",
            Service::Kubernetes => "",
        };
        writeln!(page, "| {} | {service}{} | {} | {} |", line.phase.name(), line.call, line.per.name(), line.why)?;
    }
    Ok(())
}

fn policy(kind: PolicyKind) -> &'static str {
    match kind {
        PolicyKind::Inline => "inline policies",
        PolicyKind::Managed => "managed policies",
    }
}

pub(super) fn thousands(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_found_through_points_on_it() {
        let all: Vec<Figures> = [100, 1_000, 10_000]
            .map(|users| {
                let mut figures = Figures::new(users, "operator", PolicyKind::Inline);
                figures.rss_steady_mib = 20.0 + users as f64 / 500.0;
                figures
            })
            .into();
        let found = fit(&all).unwrap();
        assert!((found.base - 20.0).abs() < 1e-6 && (found.slope - 0.002).abs() < 1e-9 && found.off < 1e-6);
    }

    #[test]
    fn numbers_are_grouped() {
        assert_eq!([thousands(999), thousands(10_000), thousands(1_000_000)], ["999", "10,000", "1,000,000"]);
    }
}
