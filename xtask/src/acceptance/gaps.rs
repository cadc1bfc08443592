//! Where the servers that are started here are known to differ from AWS, as a run sees it. The conformance suite has its
//! own list, by its cases.

use ground::recorder::Difference;

/// Differences for one reason.
struct Gap {
    server: &'static str,
    /// Such calls; empty for all.
    actions: &'static [&'static str],
    /// A part of the element, or of what the server said.
    part: &'static str,
    why: &'static str,
}

const GAPS: &[Gap] = &[];

/// Why a difference is known, if it is.
pub(crate) fn of(server: &str, difference: &Difference) -> Option<&'static str> {
    let found = GAPS.iter().find(|gap| {
        gap.server == server
            && (gap.actions.is_empty() || gap.actions.contains(&difference.action.as_str()))
            && (difference.what.contains(gap.part) || difference.server.contains(gap.part))
    });
    found.map(|gap| gap.why)
}
