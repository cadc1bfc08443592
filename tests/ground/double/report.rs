//! The credential report: one CSV of all users' passwords, keys and certificates, as they were at one time (IAM user
//! guide, "Generate credential reports for your AWS account").
//!
//! Where the guide and reports of today differ, it is as they are: times end in `Z`, no line feed ends the text, and the
//! last column is there only where somebody has more than two keys or certificates.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::error::{ApiError, Code};
use super::iam::Iam;
use super::model::{AccessKey, LastUsed, SigningCertificate, Status, User};
use super::response::Response;
use super::settings::REPORT_LIFE;
use super::state::State;

/// How many keys, and how many certificates, have columns.
const SHOWN: usize = 2;
const COLUMNS: &str = "user,arn,user_creation_time,password_enabled,password_last_used,password_last_changed,\
    password_next_rotation,mfa_active,access_key_1_active,access_key_1_last_rotated,access_key_1_last_used_date,\
    access_key_1_last_used_region,access_key_1_last_used_service,access_key_2_active,access_key_2_last_rotated,\
    access_key_2_last_used_date,access_key_2_last_used_region,access_key_2_last_used_service,cert_1_active,\
    cert_1_last_rotated,cert_2_active,cert_2_last_rotated";
const NONE: &str = "N/A";

/// The one report of an account.
#[derive(Debug, Clone)]
pub(super) struct Report {
    /// What it shows is older than this by the time that it took to make.
    generated: Timestamp,
    text: Arc<str>,
}

impl Report {
    fn is_made(&self, now: Timestamp) -> bool {
        self.generated <= now
    }

    fn is_old(&self, now: Timestamp, life: SignedDuration) -> bool {
        now.duration_since(self.generated) > life
    }
}

/// A row of it.
struct Row(Vec<String>);

impl Row {
    fn word(&mut self, word: impl Into<String>) {
        self.0.push(word.into());
    }

    fn flag(&mut self, flag: bool) {
        self.word(if flag { "true" } else { "false" });
    }

    fn time(&mut self, time: Option<Timestamp>) {
        self.word(time.map_or_else(|| NONE.to_owned(), |time| time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()));
    }

    fn key(&mut self, key: Option<&AccessKey>, used: Option<LastUsed>, dated: bool) {
        let active = key.is_some_and(|key| key.status == Status::Active);
        self.flag(active);
        self.time(key.filter(|_| active || dated).map(|key| key.created));
        self.time(used.as_ref().map(|used| used.at));
        // S3 counts as a service without regions here.
        let region = used.as_ref().filter(|used| used.service != "s3").map(|used| used.region.as_str());
        self.word(region.unwrap_or(NONE));
        self.word(used.as_ref().map_or(NONE, |used| used.service.as_str()));
    }

    fn certificate(&mut self, certificate: Option<&SigningCertificate>) {
        let active = certificate.filter(|certificate| certificate.status == Status::Active);
        self.flag(active.is_some());
        self.time(active.map(|certificate| certificate.uploaded));
    }

    /// The row as a line: names may hold commas.
    fn line(self) -> String {
        let quoted = self
            .0
            .into_iter()
            .map(|word| if word.contains([',', '"']) { format!("\"{}\"", word.replace('"', "\"\"")) } else { word });
        quoted.collect::<Vec<_>>().join(",")
    }
}

impl Iam {
    /// Begins a report, unless there is one that is not yet old.
    pub(super) fn generate_credential_report(&mut self, now: Timestamp, view: &State) -> Response {
        let state = |state, description| Response::CredentialReportState { state, description };
        let again = self.settings.credential_report.again;
        match &self.report {
            Some(report) if !report.is_made(now) => state("INPROGRESS", None),
            Some(report) if self.settings.credential_report.frozen || !report.is_old(now, again) => {
                state("COMPLETE", None)
            }
            _ => {
                let text = self.report_text(now, view).into();
                let takes = self.settings.credential_report.takes;
                self.report = Some(Report { generated: now.checked_add(takes).unwrap_or(Timestamp::MAX), text });
                state("STARTED", Some("No report exists. Starting a new report generation task"))
            }
        }
    }

    /// Has the next report be another one, as if four hours had passed.
    pub fn forget_report(&mut self) {
        self.report = None;
    }

    pub(super) fn get_credential_report(&self, now: Timestamp) -> Result<Response, ApiError> {
        let settings = &self.settings.credential_report;
        match &self.report {
            None => Err(Code::ReportNotPresent.error("Unknown")),
            Some(report) if !report.is_made(now) => Err(Code::ReportInProgress.error("Unknown")),
            Some(report) if report.is_old(now, REPORT_LIFE) && !settings.frozen => {
                Err(Code::ReportExpired.error("Unknown"))
            }
            Some(report) => Ok(Response::CredentialReport {
                content: settings.distortion.apply(&report.text),
                generated: report.generated,
            }),
        }
    }

    fn report_text(&mut self, now: Timestamp, view: &State) -> String {
        let more = view.users().any(|user| user.keys.len().max(user.signing_certificates.len()) > SHOWN);
        let header = if more { format!("{COLUMNS},additional_credentials_info") } else { COLUMNS.to_owned() };
        // Users come by their names without regard to case.
        let users = view.users().map(|user| {
            let mut row = self.user_row(now, user);
            if more {
                let extra = |count: usize| count.saturating_sub(SHOWN);
                let (keys, certificates) = (extra(user.keys.len()), extra(user.signing_certificates.len()));
                row.word(format!("{keys} (ListAccessKeys); {certificates} (ListSigningCertificates)"));
            }
            row.line()
        });
        let users: Vec<String> = users.collect();
        let mut root = self.root_row(now, view);
        if more {
            root.word(NONE);
        }
        [header, root.line()].into_iter().chain(users).collect::<Vec<_>>().join("\n")
    }

    fn user_row(&mut self, now: Timestamp, user: &User) -> Row {
        let mut row = Row(vec![user.name.clone(), user.arn.clone()]);
        row.time(Some(user.created));
        row.flag(user.login_profile.is_some());
        row.word(if user.login_profile.is_some() { "no_information" } else { NONE });
        row.time(user.login_profile);
        // There is no policy that asks for new passwords.
        row.word(NONE);
        row.flag(!user.mfa_devices.is_empty());
        // By identifier, as they are seen to be: which of them is the older, the place does not tell.
        let mut keys: Vec<&AccessKey> = user.keys.iter().collect();
        keys.sort_by_key(|key| &key.id);
        for place in 0..SHOWN {
            let key = keys.get(place).copied();
            let used = key.and_then(|key| self.shown_use(now, &key.id));
            row.key(key, used, self.settings.credential_report.inactive_keys_dated);
        }
        (0..SHOWN).for_each(|place| row.certificate(user.signing_certificates.get(place)));
        row
    }

    /// The account's own row. Nothing tells when the account and its key were made.
    fn root_row(&mut self, now: Timestamp, view: &State) -> Row {
        let mut row = Row(vec!["<root_account>".to_owned(), view.account.arn("root")]);
        row.time(Some(Timestamp::UNIX_EPOCH));
        row.flag(false);
        [NONE, NONE, "not_supported"].into_iter().for_each(|word| row.word(word));
        row.flag(false);
        let id = self.root_credentials().access_key_id.clone();
        let used = self.shown_use(now, &id);
        let key = AccessKey { id, secret: String::new(), status: Status::Active, created: Timestamp::UNIX_EPOCH };
        row.key(Some(&key), used, false);
        row.key(None, None, false);
        (0..SHOWN).for_each(|_| row.certificate(None));
        row
    }
}
