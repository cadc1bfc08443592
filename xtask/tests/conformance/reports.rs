//! The credential report. An account has one in four hours: what the first case has not made, it does not show.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use aws_sdk_iam::error::ProvideErrorMetadata;
use aws_sdk_iam::types::{ReportFormatType, ReportStateType};
use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format;

use crate::cases::cases;
use crate::target::{Target, refused};

cases![a_credential_report_shows_whose_keys_work_and_since_when, a_credential_report_has_a_row_of_the_root];

/// The rows of the report by their users, each by the names of the columns.
async fn report(target: &Target) -> Result<BTreeMap<String, BTreeMap<String, String>>> {
    target.iam.generate_credential_report().send().await.context("GenerateCredentialReport")?;
    let answer = loop {
        match target.iam.get_credential_report().send().await {
            Err(error) if error.code() == Some("ReportInProgress") => {
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
            answer => break answer.context("GetCredentialReport")?,
        }
    };
    ensure!(answer.report_format() == Some(&ReportFormatType::TextCsv) && answer.generated_time().is_some());
    let text = String::from_utf8(answer.content.context("the content")?.into_inner())?;
    let mut rows = text.lines().map(|line| line.split(','));
    let columns: Vec<&str> = rows.next().context("the names of the columns")?.collect();
    let rows = rows.map(|row| columns.iter().map(|name| (*name).to_owned()).zip(row.map(str::to_owned)).collect());
    Ok(rows.map(|row: BTreeMap<String, String>| (row.get("user").cloned().unwrap_or_default(), row)).collect())
}

async fn a_credential_report_shows_whose_keys_work_and_since_when(target: &Target) -> Result<()> {
    refused(target.iam.get_credential_report().send().await, "ReportNotPresent", 410)?;
    let name = target.user().await?;
    let key = target.key(&name).await?;
    let begun = target.iam.generate_credential_report().send().await?;
    ensure!(begun.state() == Some(&ReportStateType::Started), "{begun:?}");
    let rows = report(target).await?;
    let row = rows.get(&name).context("the user's row")?;
    let column = |name: &str| row.get(name).map(String::as_str).with_context(|| format!("the column {name}"));
    let account = target.account().await?;
    ensure!(column("arn")? == format!("arn:aws:iam::{account}:user/{name}"), "{row:?}");
    ensure!([column("access_key_1_active")?, column("access_key_2_active")?] == ["true", "false"], "{row:?}");
    ensure!(
        column("access_key_1_last_used_date")? == "N/A" && column("access_key_2_last_rotated")? == "N/A",
        "{row:?}"
    );
    let since = DateTime::from_str(column("access_key_1_last_rotated")?, Format::DateTimeWithOffset)?;
    ensure!(since.secs() == key.create_date().context("its time")?.secs(), "{row:?}");
    let again = target.iam.generate_credential_report().send().await?;
    ensure!(again.state() == Some(&ReportStateType::Complete), "{again:?}");
    Ok(())
}

async fn a_credential_report_has_a_row_of_the_root(target: &Target) -> Result<()> {
    let account = target.account().await?;
    let rows = report(target).await?;
    let row = rows.get("<root_account>").context("the root's row")?;
    ensure!(row.get("arn") == Some(&format!("arn:aws:iam::{account}:root")), "{row:?}");
    ensure!(row.get("password_next_rotation").map(String::as_str) == Some("not_supported"), "{row:?}");
    Ok(())
}
