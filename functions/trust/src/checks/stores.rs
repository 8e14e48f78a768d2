//! Tables, buckets and secrets: their region, keys, backups and locks. Of
//! secrets and keys not all are looked at, so what is published speaks of those
//! that were.

use aws_sdk_dynamodb::types::{PointInTimeRecoveryStatus, SseType, TableDescription};
use aws_sdk_s3::error::ProvideErrorMetadata;
use aws_sdk_s3::types::{ObjectLockRetentionMode, ServerSideEncryption};
use keystone::config::Setting;
use keystone::tenant::StoreError;
use serde_json::json;

use super::{Blind, Finding, Look, refused};

const TABLES: [Setting; 3] =
    [Setting::SessionTable, Setting::ThrottleTable, Setting::SubjectKeyTable];
const BUCKETS: [Setting; 2] = [Setting::ArchiveBucket, Setting::ExportBucket];
const SECRETS: [Setting; 2] = [Setting::MongodbSecret, Setting::SessionSecret];

async fn s3(look: &Look<'_>) -> Result<aws_sdk_s3::Client, Blind> {
    let config = aws_sdk_s3::config::Builder::from(look.job.platform.aws().await?)
        // Buckets by path: their names need no DNS, on AWS or elsewhere.
        .force_path_style(true)
        .build();
    Ok(aws_sdk_s3::Client::from_conf(config))
}

async fn dynamodb(look: &Look<'_>) -> Result<aws_sdk_dynamodb::Client, Blind> {
    Ok(aws_sdk_dynamodb::Client::new(look.job.platform.aws().await?))
}

async fn tables(look: &Look<'_>) -> Result<Vec<TableDescription>, Blind> {
    let client = dynamodb(look).await?;
    let mut tables = Vec::new();
    for setting in TABLES {
        let name = look.setting(setting)?;
        let found = client.describe_table().table_name(name).send().await;
        let found = found.map_err(|error| refused(&error))?.table;
        tables.push(found.ok_or_else(|| StoreError::defect("a table has no description"))?);
    }
    Ok(tables)
}

/// The region of an ARN (its fourth part).
fn region_of(arn: &str) -> Option<&str> {
    arn.split(':').nth(3)
}

pub(super) async fn residency(look: &Look<'_>) -> Result<Finding, Blind> {
    let home = look.setting(Setting::ResidencyRegion)?;
    let mut regions = vec![region_of(look.setting(Setting::DataKey)?).unwrap_or("").to_owned()];
    for table in tables(look).await? {
        regions.push(region_of(table.table_arn().unwrap_or_default()).unwrap_or("").to_owned());
    }
    let buckets = s3(look).await?;
    for setting in BUCKETS {
        let asked = buckets.get_bucket_location().bucket(look.setting(setting)?).send().await;
        let place = asked.map_err(|error| refused(&error))?.location_constraint;
        // S3 gives none for us-east-1, and for Ireland a former name too.
        let place = place.map_or_else(|| "us-east-1".to_owned(), |place| place.to_string());
        regions.push(if place == "EU" { "eu-west-1".into() } else { place });
    }
    for setting in SECRETS {
        regions.push(region_of(look.setting(setting)?).unwrap_or("").to_owned());
    }
    let stores = regions.len();
    let away = regions.iter().filter(|region| *region != home).count();
    let evidence = match away {
        0 => format!("All {stores} stores and keys on AWS that were looked at are in {home}."),
        _ => format!(
            "{away} of {stores} stores and keys on AWS that were looked at are not in {home}."
        ),
    };
    Ok(Finding::of(away == 0, evidence, json!({ "region": home, "stores": stores, "away": away })))
}

pub(super) async fn copies(look: &Look<'_>) -> Result<Finding, Blind> {
    let mut copied = 0;
    for table in tables(look).await? {
        copied += usize::from(!table.replicas().is_empty());
    }
    let buckets = s3(look).await?;
    for setting in BUCKETS {
        match buckets.get_bucket_replication().bucket(look.setting(setting)?).send().await {
            Ok(_) => copied += 1,
            Err(error) if error.code() == Some("ReplicationConfigurationNotFoundError") => {}
            Err(error) => return Err(refused(&error)),
        }
    }
    let stores = TABLES.len() + BUCKETS.len();
    let evidence = match copied {
        0 => format!("None of {stores} tables and buckets that were looked at is replicated."),
        _ => format!("{copied} of {stores} tables and buckets that were looked at are replicated."),
    };
    Ok(Finding::of(copied == 0, evidence, json!({ "stores": stores, "replicated": copied })))
}

pub(super) async fn encryption(look: &Look<'_>) -> Result<Finding, Blind> {
    let key = look.setting(Setting::DataKey)?;
    // A key may be named by its id alone.
    let id = key.rsplit('/').next().unwrap_or(key);
    let is_ours = |named: Option<&str>| named.is_some_and(|named| named.ends_with(id));
    let mut wrong = Vec::new();
    for table in tables(look).await? {
        let sse = table.sse_description();
        let by_kms = sse.is_some_and(|sse| sse.sse_type() == Some(&SseType::Kms));
        if !by_kms || !is_ours(sse.and_then(|sse| sse.kms_master_key_arn())) {
            wrong.push("a table");
        }
    }
    let buckets = s3(look).await?;
    for setting in BUCKETS {
        let asked = buckets.get_bucket_encryption().bucket(look.setting(setting)?).send().await;
        let rules = asked.map_err(|error| refused(&error))?.server_side_encryption_configuration;
        let rules = rules.map(|found| found.rules).unwrap_or_default();
        let ours = rules.iter().any(|rule| {
            rule.apply_server_side_encryption_by_default().is_some_and(|default| {
                *default.sse_algorithm() == ServerSideEncryption::AwsKms
                    && is_ours(default.kms_master_key_id())
            })
        });
        if !ours {
            wrong.push("a bucket");
        }
    }
    let secrets = aws_sdk_secretsmanager::Client::new(look.job.platform.aws().await?);
    for setting in SECRETS {
        let asked = secrets.describe_secret().secret_id(look.setting(setting)?).send().await;
        if !is_ours(asked.map_err(|error| refused(&error))?.kms_key_id()) {
            wrong.push("a secret");
        }
    }
    let stores = TABLES.len() + BUCKETS.len() + SECRETS.len();
    let evidence = if wrong.is_empty() {
        format!(
            "All {stores} tables, buckets and secrets that were looked at are encrypted by the deployment's key."
        )
    } else {
        let wrong = wrong.join(", ");
        format!(
            "Of {stores} tables, buckets and secrets some are not encrypted by our key: {wrong}."
        )
    };
    let facts = json!({ "stores": stores, "not_encrypted_by_our_key": wrong.len() });
    Ok(Finding::of(wrong.is_empty(), evidence, facts))
}

pub(super) async fn object_lock(look: &Look<'_>) -> Result<Finding, Blind> {
    let wanted: i32 =
        look.setting(Setting::ArchiveRetentionDays)?.parse().map_err(StoreError::defect)?;
    let bucket = look.setting(Setting::ArchiveBucket)?;
    let asked = s3(look).await?.get_object_lock_configuration().bucket(bucket).send().await;
    let retention = match asked {
        Ok(found) => found
            .object_lock_configuration
            .and_then(|found| found.rule)
            .and_then(|rule| rule.default_retention),
        Err(error) if error.code() == Some("ObjectLockConfigurationNotFoundError") => None,
        Err(error) => return Err(refused(&error)),
    };
    let Some(retention) = retention else {
        let facts = json!({ "mode": null, "days": null, "wanted_days": wanted });
        return Ok(Finding::of(false, "The archive of checkpoints is not locked.", facts));
    };
    let days = retention.days.unwrap_or_else(|| retention.years.unwrap_or(0) * 365);
    let compliance = retention.mode == Some(ObjectLockRetentionMode::Compliance);
    let mode = retention.mode.as_ref().map_or("no", ObjectLockRetentionMode::as_str);
    let evidence = format!(
        "The archive of checkpoints locks what it is given for {days} days in {mode} mode."
    );
    let facts = json!({ "mode": mode, "days": days, "wanted_days": wanted });
    Ok(Finding::of(compliance && days >= wanted, evidence, facts))
}

pub(super) async fn backups(look: &Look<'_>) -> Result<Finding, Blind> {
    let client = dynamodb(look).await?;
    let mut without = 0;
    for setting in TABLES {
        let name = look.setting(setting)?;
        let asked = client.describe_continuous_backups().table_name(name).send().await;
        let found = asked.map_err(|error| refused(&error))?.continuous_backups_description;
        let recovery = found.and_then(|found| found.point_in_time_recovery_description);
        let status = recovery.and_then(|recovery| recovery.point_in_time_recovery_status);
        without += usize::from(status != Some(PointInTimeRecoveryStatus::Enabled));
    }
    let tables = TABLES.len();
    let evidence = match without {
        0 => format!("All {tables} tables that were looked at have point-in-time recovery."),
        _ => format!(
            "{without} of {tables} tables that were looked at have no point-in-time recovery."
        ),
    };
    Ok(Finding::of(without == 0, evidence, json!({ "tables": tables, "without": without })))
}
