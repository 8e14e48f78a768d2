//! The API as API Gateway has it.

use aws_sdk_apigateway::Client;
use aws_sdk_apigateway::types::{EndpointAccessMode, SecurityPolicy};
use keystone::config::Setting;
use serde_json::json;

use super::{Blind, Finding, Look, refused};

/// Name of the API's only stage.
const STAGE: &str = "live";

/// Takes TLS 1.3 and nothing older.
fn is_tls_1_3_only(policy: Option<&SecurityPolicy>) -> bool {
    let policy = policy.map_or("", SecurityPolicy::as_str);
    // Of policies that take older versions too, both are in the name.
    policy.starts_with("SecurityPolicy_TLS13_1_3_")
}

fn is_strict(mode: Option<&EndpointAccessMode>) -> bool {
    mode == Some(&EndpointAccessMode::Strict)
}

pub(super) async fn tls_policy(look: &Look<'_>) -> Result<Finding, Blind> {
    let domain = look.setting(Setting::ApiDomain)?;
    if domain == "none" {
        let reason = "This deployment has no domain name of its own, so nobody speaks TLS to it.";
        return Ok(Finding::unknown(reason));
    }
    let client = Client::new(look.job.platform.aws().await?);
    let of_domain = client.get_domain_name().domain_name(domain).send().await;
    let of_domain = of_domain.map_err(|error| refused(&error))?;
    let of_api = client.get_rest_api().rest_api_id(look.setting(Setting::ApiId)?).send().await;
    let of_api = of_api.map_err(|error| refused(&error))?;
    let policies = [of_domain.security_policy(), of_api.security_policy()];
    let modes = [of_domain.endpoint_access_mode(), of_api.endpoint_access_mode()];
    let by_domain_only = of_api.disable_execute_api_endpoint();
    let holds = policies.iter().all(|policy| is_tls_1_3_only(*policy))
        && modes.iter().all(|mode| is_strict(*mode))
        && by_domain_only;
    let evidence = if holds {
        "The API is reached by its domain only, with TLS 1.3 and nothing older."
    } else {
        "The API or its domain takes an older TLS, or can be reached past the domain."
    };
    let name = |policy: Option<&SecurityPolicy>| policy.map(|policy| policy.as_str().to_owned());
    let facts = json!({
        "domain_policy": name(policies[0]),
        "api_policy": name(policies[1]),
        "strict": modes.iter().all(|mode| is_strict(*mode)),
        "domain_only": by_domain_only,
    });
    Ok(Finding::of(holds, evidence, facts))
}

pub(super) async fn throttle(look: &Look<'_>) -> Result<Finding, Blind> {
    let client = Client::new(look.job.platform.aws().await?);
    let api = look.setting(Setting::ApiId)?;
    let stage = client.get_stage().rest_api_id(api).stage_name(STAGE).send().await;
    let stage = stage.map_err(|error| refused(&error))?;
    let all = stage.method_settings().and_then(|settings| settings.get("*/*"));
    let (rate, burst) = all.map_or((0.0, 0), |settings| {
        (settings.throttling_rate_limit(), settings.throttling_burst_limit())
    });
    let evidence = format!("The API takes {rate} requests a second, {burst} at once.");
    let facts = json!({ "requests_per_second": rate, "burst": burst });
    Ok(Finding::of(rate > 0.0 && burst > 0, evidence, facts))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_policies_without_an_older_version_pass() {
        for (policy, fits) in [
            ("SecurityPolicy_TLS13_1_3_2025_09", true),
            ("SecurityPolicy_TLS13_1_3_FIPS_2025_09", true),
            ("SecurityPolicy_TLS13_1_2_PQ_2025_09", false),
            ("TLS_1_2", false),
            ("TLS_1_0", false),
        ] {
            assert_eq!(is_tls_1_3_only(Some(&SecurityPolicy::from(policy))), fits, "{policy}");
        }
        assert!(!is_tls_1_3_only(None));
    }
}
