//! The database cluster as the Atlas Admin API describes it.
//!
//! Access is by a service account (OAuth 2.0 client credentials). Without one
//! nothing is known of the cluster, and nothing is claimed.

use keystone::config::Setting;
use keystone::tenant::StoreError;
use serde::Deserialize;
use serde_json::json;

use super::{Blind, Finding, Look};

/// What the claim says (C17), in days.
const WINDOW_DAYS: u64 = 30;

/// Versions of the resources (`Accept` of the Atlas Admin API v2).
const CLUSTER_VERSION: &str = "application/vnd.atlas.2024-08-05+json";
const SCHEDULE_VERSION: &str = "application/vnd.atlas.2024-08-05+json";
const ENCRYPTION_VERSION: &str = "application/vnd.atlas.2023-01-01+json";

/// The residency region as Atlas spells it.
const REGION: &str = "EU_WEST_1";

/// Why Atlas told nothing.
#[derive(Debug, thiserror::Error)]
enum AtlasError {
    /// No answer.
    #[error("no answer")]
    Unavailable(#[from] reqwest::Error),
    /// A status that says no.
    #[error("status {0}")]
    Refused(u16),
}

impl From<AtlasError> for Blind {
    fn from(error: AtlasError) -> Self {
        match error {
            AtlasError::Unavailable(error) => error.into(),
            AtlasError::Refused(status) => Self::Reason(format!("Atlas did not tell ({status}).")),
        }
    }
}

#[derive(Deserialize)]
struct Secret {
    client_id: String,
    client_secret: String,
}

#[derive(Deserialize)]
struct Token {
    access_token: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Cluster {
    #[serde(default)]
    backup_enabled: bool,
    #[serde(default)]
    pit_enabled: bool,
    #[serde(default)]
    encryption_at_rest_provider: String,
    #[serde(default)]
    replication_specs: Vec<ReplicationSpec>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ReplicationSpec {
    #[serde(default)]
    region_configs: Vec<RegionConfig>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RegionConfig {
    #[serde(default)]
    provider_name: String,
    #[serde(default)]
    region_name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Schedule {
    #[serde(default)]
    restore_window_days: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Encryption {
    #[serde(default)]
    aws_kms: AwsKms,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
struct AwsKms {
    #[serde(default)]
    enabled: bool,
    #[serde(default)]
    valid: bool,
    #[serde(default, rename = "customerMasterKeyID")]
    customer_master_key_id: String,
}

/// A project's cluster, signed in to.
struct Atlas {
    http: reqwest::Client,
    project: String,
    cluster: String,
    token: String,
}

impl Atlas {
    /// Gets a token for the service account.
    async fn sign_in(
        http: &reqwest::Client,
        base: &str,
        (project, cluster): (&str, &str),
        secret: &Secret,
    ) -> Result<Self, AtlasError> {
        let asked = http
            .post(format!("{base}/api/oauth/token"))
            .basic_auth(&secret.client_id, Some(&secret.client_secret))
            .form(&[("grant_type", "client_credentials")])
            .send()
            .await?;
        if !asked.status().is_success() {
            return Err(AtlasError::Refused(asked.status().as_u16()));
        }
        let Token { access_token } = asked.json().await?;
        let project = format!("{base}/api/atlas/v2/groups/{project}");
        Ok(Self { http: http.clone(), project, cluster: cluster.to_owned(), token: access_token })
    }

    async fn read<T: serde::de::DeserializeOwned>(
        &self,
        path: &str,
        version: &str,
    ) -> Result<T, AtlasError> {
        let answer = self
            .http
            .get(format!("{}{path}", self.project))
            .bearer_auth(&self.token)
            .header(reqwest::header::ACCEPT, version)
            .send()
            .await?;
        if !answer.status().is_success() {
            return Err(AtlasError::Refused(answer.status().as_u16()));
        }
        Ok(answer.json().await?)
    }

    async fn cluster(&self) -> Result<Cluster, AtlasError> {
        self.read(&format!("/clusters/{}", self.cluster), CLUSTER_VERSION).await
    }

    async fn backups(&self) -> Result<Finding, AtlasError> {
        let cluster = self.cluster().await?;
        let path = format!("/clusters/{}/backup/schedule", self.cluster);
        let schedule: Schedule = self.read(&path, SCHEDULE_VERSION).await?;
        let days = schedule.restore_window_days;
        let continuous = cluster.backup_enabled && cluster.pit_enabled;
        let evidence = if continuous {
            format!(
                "Atlas backs the cluster up continuously; any moment of the last {days} days can be restored."
            )
        } else {
            "The cluster has no continuous backups.".to_owned()
        };
        let facts = json!({ "continuous": continuous, "restore_window_days": days });
        Ok(Finding::of(continuous && days >= WINDOW_DAYS, evidence, facts))
    }

    /// `key` is the id of the key that the cluster must be encrypted by; Atlas
    /// has it by id or by ARN.
    async fn encryption(&self, key: &str) -> Result<Finding, AtlasError> {
        let cluster = self.cluster().await?;
        let kms = self.read::<Encryption>("/encryptionAtRest", ENCRYPTION_VERSION).await?.aws_kms;
        let by_kms = cluster.encryption_at_rest_provider == "AWS" && kms.enabled && kms.valid;
        let ours = by_kms && kms.customer_master_key_id.ends_with(key);
        let evidence = if ours {
            "The cluster and its backups are encrypted by a KMS key of our account."
        } else {
            "The cluster is not encrypted by the KMS key of our account that is meant for it."
        };
        let facts = json!({ "by_kms": by_kms, "by_our_key": ours });
        Ok(Finding::of(ours, evidence, facts))
    }

    async fn region(&self) -> Result<Finding, AtlasError> {
        let cluster = self.cluster().await?;
        let regions: Vec<RegionConfig> =
            cluster.replication_specs.into_iter().flat_map(|spec| spec.region_configs).collect();
        let home =
            |region: &RegionConfig| region.provider_name == "AWS" && region.region_name == REGION;
        let holds = !regions.is_empty() && regions.iter().all(home);
        let mut names: Vec<String> = regions
            .iter()
            .map(|region| format!("{} {}", region.provider_name, region.region_name))
            .collect();
        names.sort();
        names.dedup();
        let evidence = format!("The nodes of the cluster are in: {}.", names.join(", "));
        Ok(Finding::of(holds, evidence, json!({ "regions": names })))
    }
}

async fn atlas(look: &Look<'_>) -> Result<Atlas, Blind> {
    let project = look.setting(Setting::AtlasProject)?;
    if project == "none" {
        let reason =
            "The database of this deployment is not on Atlas, or no access to it is set up.";
        return Err(Blind::Reason(reason.into()));
    }
    let secret = look.job.platform.secret(Setting::AtlasSecret, look.job.now).await?;
    let secret: Secret = serde_json::from_str(&secret)
        .map_err(|_| StoreError::defect("the Atlas secret is no service account"))?;
    let of = (project, look.setting(Setting::AtlasCluster)?);
    Ok(Atlas::sign_in(&look.http, look.setting(Setting::AtlasUrl)?, of, &secret).await?)
}

pub(super) async fn backups(look: &Look<'_>) -> Result<Finding, Blind> {
    Ok(atlas(look).await?.backups().await?)
}

pub(super) async fn encryption(look: &Look<'_>) -> Result<Finding, Blind> {
    let key = look.setting(Setting::AtlasKey)?;
    Ok(atlas(look).await?.encryption(key).await?)
}

pub(super) async fn region(look: &Look<'_>) -> Result<Finding, Blind> {
    Ok(atlas(look).await?.region().await?)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use serde_json::Value;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::super::Verdict;
    use super::*;

    /// Answers of Atlas by path, in the form of its API documentation.
    fn recorded() -> HashMap<&'static str, Value> {
        HashMap::from([
            (
                "/api/oauth/token",
                json!({ "access_token": "t0ken", "expires_in": 3600, "token_type": "Bearer" }),
            ),
            (
                "/api/atlas/v2/groups/p1/clusters/keystone",
                json!({
                    "name": "keystone", "stateName": "IDLE", "clusterType": "REPLICASET",
                    "backupEnabled": true, "pitEnabled": true,
                    "encryptionAtRestProvider": "AWS",
                    "replicationSpecs": [{ "zoneName": "Zone 1", "regionConfigs": [{
                        "providerName": "AWS", "regionName": "EU_WEST_1", "priority": 7,
                        "electableSpecs": { "instanceSize": "M30", "nodeCount": 3 },
                    }] }],
                }),
            ),
            (
                "/api/atlas/v2/groups/p1/clusters/keystone/backup/schedule",
                json!({
                    "clusterName": "keystone", "restoreWindowDays": 30,
                    "policies": [{ "policyItems": [
                        { "frequencyType": "daily", "retentionUnit": "days", "retentionValue": 30 },
                    ] }],
                }),
            ),
            (
                "/api/atlas/v2/groups/p1/encryptionAtRest",
                json!({ "awsKms": {
                    "enabled": true, "valid": true, "region": "EU_WEST_1",
                    "customerMasterKeyID": "arn:aws:kms:eu-west-1:1:key/k-1",
                } }),
            ),
        ])
    }

    /// Serves `answers` until the test ends; whoever shows no token gets 401.
    async fn serve(answers: HashMap<&'static str, Value>) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = Vec::new();
                let mut part = [0; 4096];
                // The bodies that are sent fit into the packet of the head.
                while !request.windows(4).any(|four| four == b"\r\n\r\n") {
                    let read = stream.read(&mut part).await.unwrap();
                    request.extend_from_slice(&part[..read]);
                }
                let request = String::from_utf8(request).unwrap();
                let path = request.split(' ').nth(1).unwrap();
                let lower = request.to_lowercase();
                let let_in = if path == "/api/oauth/token" {
                    // client:s3cret
                    request.contains("Basic Y2xpZW50OnMzY3JldA==")
                } else {
                    request.contains("Bearer t0ken")
                        && lower.contains("accept: application/vnd.atlas.")
                };
                let (status, body) = match answers.get(path) {
                    _ if !let_in => ("401 Unauthorized", "{}".to_owned()),
                    Some(body) => ("200 OK", body.to_string()),
                    None => ("404 Not Found", "{}".to_owned()),
                };
                let answer = format!(
                    "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\
                     connection: close\r\n\r\n{body}",
                    body.len()
                );
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        base
    }

    fn secret(client_secret: &str) -> Secret {
        Secret { client_id: "client".into(), client_secret: client_secret.into() }
    }

    async fn atlas(answers: HashMap<&'static str, Value>) -> Atlas {
        let base = serve(answers).await;
        let http = reqwest::Client::new();
        Atlas::sign_in(&http, &base, ("p1", "keystone"), &secret("s3cret")).await.unwrap()
    }

    #[tokio::test]
    async fn a_cluster_as_it_should_be_passes() {
        let atlas = atlas(recorded()).await;
        let backups = atlas.backups().await.unwrap();
        assert_eq!(backups.verdict, Verdict::Pass, "{backups:?}");
        assert_eq!(backups.facts, json!({ "continuous": true, "restore_window_days": 30 }));
        assert_eq!(atlas.encryption("k-1").await.unwrap().verdict, Verdict::Pass);
        assert_eq!(atlas.region().await.unwrap().verdict, Verdict::Pass);
    }

    #[tokio::test]
    async fn what_is_not_as_claimed_fails() {
        const CLUSTER: &str = "/api/atlas/v2/groups/p1/clusters/keystone";
        let mut answers = recorded();
        let cluster = answers.get_mut(CLUSTER).unwrap();
        cluster["pitEnabled"] = json!(false);
        let london = json!({ "providerName": "AWS", "regionName": "EU_WEST_2" });
        let regions = cluster["replicationSpecs"][0]["regionConfigs"].as_array_mut().unwrap();
        regions.push(london);
        let atlas = atlas(answers).await;
        assert_eq!(atlas.backups().await.unwrap().verdict, Verdict::Fail);
        assert_eq!(atlas.region().await.unwrap().verdict, Verdict::Fail);
        assert_eq!(atlas.encryption("k-2").await.unwrap().verdict, Verdict::Fail);
    }

    #[tokio::test]
    async fn a_short_window_fails() {
        let mut answers = recorded();
        let schedule =
            answers.get_mut("/api/atlas/v2/groups/p1/clusters/keystone/backup/schedule").unwrap();
        schedule["restoreWindowDays"] = json!(29);
        assert_eq!(atlas(answers).await.backups().await.unwrap().verdict, Verdict::Fail);
    }

    #[tokio::test]
    async fn without_access_nothing_is_known() {
        let base = serve(recorded()).await;
        let http = reqwest::Client::new();
        let refused = Atlas::sign_in(&http, &base, ("p1", "keystone"), &secret("wrong")).await;
        assert!(matches!(refused, Err(AtlasError::Refused(401))));
        let absent = Atlas::sign_in(&http, &base, ("p2", "keystone"), &secret("s3cret")).await;
        assert!(matches!(absent.unwrap().backups().await, Err(AtlasError::Refused(404))));
    }
}
