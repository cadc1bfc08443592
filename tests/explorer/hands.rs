//! What people do.

use s3_access_operator::core::iam::AccessKey;
use s3_access_operator::core::observed::{SecretState, UserState};

use crate::resource::Report;
use crate::world::World;

/// What people do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hand {
    DeleteSecret,
    EmptySecret,
    StripSecret,
    DeactivateKey,
    DeleteKey,
    AddKey,
    DetachPolicy,
    /// With all that hangs on it.
    DeleteUser,
    Rotate,
    ToggleSuspension,
    DeleteResource,
    /// The CR is forced out and made again, with another UID.
    ReplaceResource,
}

pub const HANDS: [Hand; 12] = [
    Hand::DeleteSecret,
    Hand::EmptySecret,
    Hand::StripSecret,
    Hand::DeactivateKey,
    Hand::DeleteKey,
    Hand::AddKey,
    Hand::DetachPolicy,
    Hand::DeleteUser,
    Hand::Rotate,
    Hand::ToggleSuspension,
    Hand::DeleteResource,
    Hand::ReplaceResource,
];

impl World {
    /// Somebody does something; false where there is nothing to do it to.
    pub fn hand(&mut self, hand: Hand) -> bool {
        let version = self.made + 1;
        let done = match hand {
            Hand::DeleteSecret | Hand::EmptySecret | Hand::StripSecret => self.hand_on_secret(hand, version),
            Hand::Rotate | Hand::ToggleSuspension | Hand::DeleteResource | Hand::ReplaceResource => {
                self.hand_on_resource(hand, version)
            }
            _ => self.hand_in_iam(hand, version),
        };
        if done {
            self.made = version;
            // What a sweep has told of may be another difference than the one that there is now.
            self.processes.iter_mut().for_each(|process| process.shown = false);
        }
        done
    }

    fn hand_on_secret(&mut self, hand: Hand, version: u8) -> bool {
        let SecretState::Ours(secret) = &mut self.truth.secret else { return false };
        match hand {
            Hand::DeleteSecret => {
                self.truth.secret = SecretState::Missing;
                return true;
            }
            Hand::EmptySecret => (secret.key, secret.up_to_date) = (None, false),
            _ => {
                // The key is found in the data, proven by use; what was recorded beside it is gone.
                if let Some(key) = &mut secret.key {
                    (key.created_at, key.account_id) = (None, None);
                }
                (secret.annotated, secret.up_to_date) = (false, false);
                (secret.previous, secret.rotated_at, secret.rotate_handled) = (None, None, None);
            }
        }
        secret.resource_version = version.to_string();
        true
    }

    fn hand_in_iam(&mut self, hand: Hand, version: u8) -> bool {
        let held = self.truth.our_secret().and_then(|secret| secret.key.clone()).map(|key| key.id);
        let now = self.now;
        let UserState::Present(user) = &mut self.truth.user else { return false };
        match hand {
            Hand::DeactivateKey => {
                let of_secret = |key: &&mut AccessKey| held.as_ref().is_some_and(|held| *held == key.id);
                let Some(key) = user.keys.iter_mut().find(of_secret) else { return false };
                key.active = false;
            }
            Hand::DeleteKey if held.is_some() => {
                user.keys.retain(|key| held.as_ref().is_none_or(|held| *held != key.id));
            }
            Hand::AddKey if user.keys.len() < 2 => {
                user.keys.push(AccessKey { id: format!("H{version}"), active: true, created_at: now });
            }
            Hand::DetachPolicy if !user.attached.is_empty() => user.attached.clear(),
            Hand::DeleteUser => self.truth.user = UserState::Missing,
            _ => return false,
        }
        true
    }

    fn hand_on_resource(&mut self, hand: Hand, version: u8) -> bool {
        let now = self.now;
        let Some(resource) = &mut self.resource else { return false };
        resource.version = version;
        match hand {
            Hand::Rotate => resource.rotation = Some(version),
            Hand::ToggleSuspension => {
                (resource.suspended, resource.generation) = (!resource.suspended, resource.generation + 1);
            }
            Hand::DeleteResource if resource.deleted_at.is_none() && resource.finalizer => {
                (resource.deleted_at, resource.generation) = (Some(now), resource.generation + 1);
            }
            Hand::ReplaceResource if resource.deleted_at.is_none() => {
                (resource.uid, resource.generation, resource.rotation) = (resource.uid + 1, 1, None);
                (resource.finalizer, resource.report) = (false, Report::default());
                self.truth.secret = SecretState::Missing;
            }
            _ => return false,
        }
        true
    }
}
