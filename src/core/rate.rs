//! How fast to call: a bucket of tokens whose rate falls by a factor when AWS throttles, and rises by a constant.
//!
//! AWS publishes no limit of IAM's and counts by account and by API, so both are found by trying (additive increase,
//! multiplicative decrease, as TCP does).

use std::time::Duration;

/// What is left of the rate that was too much.
const DECREASE: f64 = 0.7;
/// Of the rate that was too much, so much is won back each second: half a minute until the limit is tried again, of
/// whose calls that costs one in some hundred.
const INCREASE: f64 = 0.01;
/// At the latest after so many seconds without throttling, the configured rate is reached again.
const RECOVERY: f64 = 1_800.0;
/// Calls a second that are tried even where all are throttled.
const LEAST: f64 = 0.5;

/// The rate of calls. Times are those of any clock that does not go backwards.
#[derive(Clone, Debug)]
pub struct AdaptiveRate {
    ceiling: f64,
    /// Tokens a second.
    rate: f64,
    /// What the rate wins each second.
    slope: f64,
    tokens: f64,
    /// Until then the tokens are counted.
    at: Duration,
    /// Calls in about the last second, the recent ones counting more.
    flow: f64,
    /// When the rate was cut last.
    cut_at: Option<Duration>,
}

impl AdaptiveRate {
    /// At most `per_second` calls a second, and as many at once.
    pub fn new(per_second: f64, now: Duration) -> Self {
        let tokens = per_second.max(1.0);
        Self { ceiling: per_second, rate: per_second, slope: 0.0, tokens, at: now, flow: 0.0, cut_at: None }
    }

    /// At most `per_second` calls a second from now on. A rate that was cut stays, and rises to the new limit.
    pub fn limit(&mut self, per_second: f64, now: Duration) {
        self.advance(now);
        let cut = self.rate < self.ceiling;
        self.ceiling = per_second;
        self.rate = if cut { self.rate.min(per_second) } else { per_second };
        self.tokens = self.tokens.min(self.burst());
    }

    /// Calls a second that are let through now.
    pub fn per_second(&mut self, now: Duration) -> f64 {
        self.advance(now);
        self.rate
    }

    /// How long until a call may go that leaves `kept` of the bucket, from 0 to 1, to others. Zero: it may go now.
    pub fn wait(&mut self, now: Duration, kept: f64) -> Duration {
        self.advance(now);
        let needed = 1.0 + kept * (self.burst() - 1.0);
        let missing = needed - self.tokens;
        // Without a margin, the rounding of a token's share could make a timer fire again and again.
        if missing <= 1e-6 { Duration::ZERO } else { Duration::from_secs_f64(missing / self.rate) }
    }

    /// A call goes.
    pub fn take(&mut self, now: Duration) {
        self.advance(now);
        self.tokens -= 1.0;
        self.flow += 1.0;
    }

    /// AWS has throttled a call that was sent at that time. Calls that were on their way when the rate was cut say
    /// nothing of the new one.
    pub fn throttled(&mut self, sent_at: Duration, now: Duration) {
        if self.cut_at.is_some_and(|cut_at| sent_at <= cut_at) {
            return;
        }
        self.advance(now);
        let too_much = self.rate.min(self.flow.max(1.0));
        self.rate = (too_much * DECREASE).max(LEAST).min(self.ceiling);
        self.slope = (too_much * INCREASE).max(self.ceiling / RECOVERY);
        self.tokens = 0.0;
        self.cut_at = Some(now);
    }

    /// What may go at once.
    fn burst(&self) -> f64 {
        self.rate.max(1.0)
    }

    fn advance(&mut self, now: Duration) {
        let seconds = now.saturating_sub(self.at).as_secs_f64();
        self.at = self.at.max(now);
        self.tokens = (self.tokens + seconds * self.rate).min(self.burst());
        self.rate = (self.rate + seconds * self.slope).min(self.ceiling);
        self.flow *= (-seconds).exp();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const START: Duration = Duration::from_secs(1_000);

    fn at(seconds: f64) -> Duration {
        START + Duration::from_secs_f64(seconds)
    }

    /// What becomes of calls that are sent as fast as the rate allows, for so many seconds, where AWS lets a bucket of
    /// `limit` a second through: how many were sent, and how many of them throttled.
    fn against(limit: f64, configured: f64, seconds: f64) -> (u32, u32) {
        let (mut rate, mut theirs) = (AdaptiveRate::new(configured, START), AdaptiveRate::new(limit, START));
        let (mut now, mut sent, mut throttled) = (START, 0, 0);
        while now < at(seconds) {
            let wait = rate.wait(now, 0.0);
            if wait > Duration::ZERO {
                now += wait;
                continue;
            }
            rate.take(now);
            sent += 1;
            if theirs.wait(now, 0.0) > Duration::ZERO {
                throttled += 1;
                rate.throttled(now, now + Duration::from_millis(5));
                now += Duration::from_millis(5);
            } else {
                theirs.take(now);
            }
        }
        (sent, throttled)
    }

    #[test]
    fn where_aws_throttles_the_pace_settles_just_below() {
        for configured in [20.0, 100.0, 1_000.0] {
            let (sent, throttled) = against(10.0, configured, 300.0);
            assert!(f64::from(throttled) <= f64::from(sent) * 0.05, "{configured}: {throttled} of {sent}");
            assert!(f64::from(sent - throttled) >= 10.0 * 300.0 * 0.75, "{configured}: only {sent} sent");
        }
    }

    #[test]
    fn calls_on_their_way_cut_the_rate_once() {
        let mut rate = AdaptiveRate::new(100.0, START);
        (0..20).for_each(|_| rate.take(at(0.1)));
        (0..20).for_each(|_| rate.throttled(at(0.1), at(0.2)));
        let cut = rate.per_second(at(0.2));
        assert!((12.0..=14.0).contains(&cut), "{cut} of 20 that were tried");
        rate.throttled(at(0.3), at(0.3));
        assert!(rate.per_second(at(0.3)) < cut);
    }

    #[test]
    fn a_new_limit_holds_at_once_and_undoes_no_cut() {
        let after = |configured: f64, cut: bool, limit: f64| {
            let mut rate = AdaptiveRate::new(configured, START);
            if cut {
                rate.take(START);
                rate.throttled(START, START);
            }
            rate.limit(limit, START);
            (rate.per_second(START), rate.wait(START, 1.0).is_zero())
        };
        assert_eq!(after(10.0, false, 5.0), (5.0, true), "no more than the new one at once");
        assert_eq!(after(10.0, false, 20.0), (20.0, false), "and no sooner more than the old one");
        assert_eq!(after(10.0, true, 20.0), (0.7, false));
        assert_eq!(after(10.0, true, 0.6), (0.6, false));
    }

    #[test]
    fn what_is_missing_comes_at_the_rate() {
        let mut rate = AdaptiveRate::new(10.0, START);
        (0..10).for_each(|_| rate.take(START));
        for (kept, seconds) in [(0.0, 0.1), (0.5, 0.55), (1.0, 1.0)] {
            let wait = rate.wait(START, kept).as_secs_f64();
            assert!((wait - seconds).abs() < 1e-6, "{kept}: {wait}");
        }
    }

    #[test]
    fn what_is_kept_for_the_urgent_is_at_hand_at_once() {
        let mut rate = AdaptiveRate::new(10.0, START);
        let mut now = START;
        // Ten seconds of background.
        while now < at(10.0) {
            match rate.wait(now, 0.75) {
                Duration::ZERO => rate.take(now),
                wait => now += wait,
            }
        }
        let mut urgent = 0;
        while rate.wait(now, 0.0).is_zero() {
            rate.take(now);
            urgent += 1;
        }
        assert!(urgent >= 6, "{urgent}");
    }

    proptest! {
        #[test]
        fn no_more_than_was_configured_goes_through(
            configured in 1.0_f64..1_000.0,
            steps in proptest::collection::vec((0.0_f64..0.5, 0.0_f64..1.0, proptest::bool::weighted(0.05)), 1..200),
        ) {
            let mut rate = AdaptiveRate::new(configured, START);
            let (mut now, mut sent) = (START, 0.0);
            for (pause, kept, throttled) in steps {
                now += Duration::from_secs_f64(pause);
                if rate.wait(now, kept).is_zero() {
                    rate.take(now);
                    sent += 1.0;
                    if throttled {
                        rate.throttled(now, now);
                    }
                }
                prop_assert!(rate.per_second(now) <= configured);
                prop_assert!(sent <= configured.max(1.0) + configured * (now - START).as_secs_f64() + 1e-3);
            }
        }

        #[test]
        fn whoever_waits_as_long_as_told_may_go(configured in 1.0_f64..500.0, kept in 0.0_f64..=1.0, cuts in 0_u32..30) {
            let mut rate = AdaptiveRate::new(configured, START);
            for cut in 0..cuts {
                rate.throttled(at(f64::from(cut)), at(f64::from(cut)));
            }
            let now = at(f64::from(cuts));
            prop_assert!(rate.per_second(now) >= LEAST.min(configured), "never none at all");
            let wait = rate.wait(now, kept);
            prop_assert!(wait >= rate.wait(now, 0.0), "the urgent wait no longer than others");
            // Where the rate has risen meanwhile, so has the share that is kept.
            let again = rate.wait(now + wait, kept);
            prop_assert!(again < Duration::from_millis(500), "{:?}", again);
        }

        #[test]
        fn the_configured_rate_comes_back(configured in 1.0_f64..500.0, cuts in 1_u32..30) {
            let mut rate = AdaptiveRate::new(configured, START);
            for cut in 0..cuts {
                rate.throttled(at(f64::from(cut)), at(f64::from(cut)));
            }
            prop_assert!((rate.per_second(at(f64::from(cuts) + RECOVERY)) - configured).abs() < 1e-6);
        }
    }
}
