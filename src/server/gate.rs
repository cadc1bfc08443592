//! Who may read metrics: the API server says it, and its answers are kept for a moment.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;

use crate::kubernetes::{Reviews, Verdict};

/// So long, whoever may read may go on reading: a right that is taken away is gone by then.
const ALLOWED_FOR: Duration = Duration::from_secs(60);
/// Less, so that a right that was just given is soon seen.
const REFUSED_FOR: Duration = Duration::from_secs(10);
/// Answers that are kept, of some fifty bytes each.
const MOST_ANSWERS: usize = 256;
/// Questions to the API server at once: whoever sends made-up tokens is not to reach it faster.
const QUESTIONS: usize = 4;
/// Without an answer by then, nobody is let in.
const PATIENCE: Duration = Duration::from_secs(5);

/// Lets in whoever the API server knows to have the right to get `/metrics`.
pub struct Gate {
    reviews: Reviews,
    answers: Mutex<Answers>,
    questions: Semaphore,
    /// Whether it is known, and told, that the API server does not answer.
    unanswered: AtomicBool,
}

impl Gate {
    /// Asks there.
    pub fn new(reviews: Reviews) -> Self {
        let (answers, unanswered) = (Mutex::default(), AtomicBool::new(false));
        Self { reviews, answers, questions: Semaphore::new(QUESTIONS), unanswered }
    }

    /// What is to be said to the bearer of the token; `None` where the API server does not say.
    pub(super) async fn verdict(&self, token: &str) -> Option<Verdict> {
        // Not the token itself, which would lie in memory for no use.
        let key: Key = Sha256::digest(token).into();
        if let Some(verdict) = self.answers().get(&key, Instant::now()) {
            return Some(verdict);
        }
        let answer = tokio::time::timeout(PATIENCE, self.ask(token)).await;
        let answer = answer.unwrap_or_else(|_| Err("no answer in time".to_owned()));
        let was_told = self.unanswered.swap(answer.is_err(), Ordering::Relaxed);
        match answer {
            Ok(verdict) => {
                self.answers().put(key, verdict, Instant::now());
                Some(verdict)
            }
            Err(error) => {
                if !was_told {
                    tracing::warn!(error, "nobody may read metrics: the API server does not say who may");
                }
                None
            }
        }
    }

    async fn ask(&self, token: &str) -> Result<Verdict, String> {
        let _question = self.questions.acquire().await.map_err(|error| error.to_string())?;
        self.reviews.may_get(token, "/metrics").await.map_err(|error| error.to_string())
    }

    fn answers(&self) -> std::sync::MutexGuard<'_, Answers> {
        self.answers.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// The hash of a token.
type Key = [u8; 32];

/// Verdicts, and until when each is believed.
#[derive(Default)]
struct Answers(HashMap<Key, (Verdict, Instant)>);

impl Answers {
    fn get(&self, key: &Key, now: Instant) -> Option<Verdict> {
        self.0.get(key).filter(|(_, end)| *end > now).map(|(verdict, _)| *verdict)
    }

    /// Where there is no room, the one goes that ends first: made-up tokens drive out each other, and not whoever may read.
    fn put(&mut self, key: Key, verdict: Verdict, now: Instant) {
        if self.0.len() >= MOST_ANSWERS && !self.0.contains_key(&key) {
            self.0.retain(|_, (_, end)| *end > now);
            let first = self.0.iter().min_by_key(|(_, (_, end))| *end).map(|(key, _)| *key);
            if let Some(first) = first.filter(|_| self.0.len() >= MOST_ANSWERS) {
                self.0.remove(&first);
            }
        }
        let kept = if verdict == Verdict::Allowed { ALLOWED_FOR } else { REFUSED_FOR };
        self.0.insert(key, (verdict, now + kept));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(of: usize) -> Key {
        Sha256::digest(of.to_string()).into()
    }

    #[test]
    fn an_answer_is_believed_for_a_moment_and_a_right_longer_than_a_refusal() {
        let (mut answers, now) = (Answers::default(), Instant::now());
        for (of, verdict, kept) in [
            (0, Verdict::Allowed, ALLOWED_FOR),
            (1, Verdict::Forbidden, REFUSED_FOR),
            (2, Verdict::Unknown, REFUSED_FOR),
        ] {
            answers.put(key(of), verdict, now);
            assert_eq!(answers.get(&key(of), now + kept.saturating_sub(Duration::from_millis(1))), Some(verdict));
            assert_eq!(answers.get(&key(of), now + kept), None);
        }
    }

    #[test]
    fn made_up_tokens_take_no_more_room_and_drive_nobody_out() {
        let (mut answers, now) = (Answers::default(), Instant::now());
        answers.put(key(0), Verdict::Allowed, now);
        for of in 1..MOST_ANSWERS * 3 {
            answers.put(key(of), Verdict::Unknown, now);
        }
        assert_eq!(answers.0.len(), MOST_ANSWERS);
        assert_eq!(answers.get(&key(0), now), Some(Verdict::Allowed));
    }
}
