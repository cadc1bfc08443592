//! Operators that make the field's known mistakes: the suite must catch each of them, or it proves nothing.

use crate::boundary::Plan;
use crate::scenarios;
use crate::suite::Reference;

/// A mistake that somebody made in one of the systems that do this job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mistake {
    /// Reads Secrets from a watch's cache, which is a few seconds behind.
    SkipsTheLiveSecretRead,
    /// Sends CreateAccessKey again where no answer came, as SDKs do.
    RetriesCreateAccessKey,
    /// Makes room for the new key of a rotation by deleting the old one.
    DeletesBeforeTheSwap,
    /// Takes the key in the status for the key in IAM.
    TrustsStatus,
    /// Takes every user with the cluster's tags for the one of the S3AccessUser at hand.
    IgnoresTheUid,
}

impl Mistake {
    const ALL: [Self; 5] = [
        Self::SkipsTheLiveSecretRead,
        Self::RetriesCreateAccessKey,
        Self::DeletesBeforeTheSwap,
        Self::TrustsStatus,
        Self::IgnoresTheUid,
    ];

    /// The first run that the mistake spoils.
    fn spoils(self) -> Option<String> {
        scenarios::all().into_iter().find_map(|scenario| {
            let reference = Reference::of(scenario).with(self);
            let plans = std::iter::once(Plan::default()).chain(reference.singles().step_by(3).map(|(_, plan)| plan));
            let single = plans.map(|plan| (plan.to_string(), reference.run(&plan)));
            let races = (0..4).map(|seed| (format!("two leaders {seed}"), reference.race(seed)));
            let mut spoiled = single.chain(races).filter(|(_, verdict)| !verdict.is_good());
            let (how, verdict) = spoiled.next()?;
            let lost_and_stranded = format!("{} lost, {} stranded", verdict.lost, verdict.stranded);
            Some(format!("{} {how}: {lost_and_stranded}, {}", scenario.name, verdict.problems.join("; ")))
        })
    }
}

#[test]
fn every_known_mistake_is_caught() {
    let caught = Mistake::ALL.map(|mistake| (mistake, mistake.spoils()));
    for (mistake, spoiled) in &caught {
        let line = spoiled.as_ref().and_then(|text| text.lines().next().map(ToOwned::to_owned));
        println!("{mistake:?}: {}", line.unwrap_or_else(|| "not caught".to_owned()));
    }
    assert!(caught.iter().all(|(_, spoiled)| spoiled.is_some()));
}
