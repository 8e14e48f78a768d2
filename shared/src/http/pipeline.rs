//! From event to response.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use lambda_runtime::{LambdaEvent, service_fn};
use tracing::Instrument;

use super::route::CSV;
use super::{Call, Event, Method, PublicCall, PublicRoute, Reply, Request, Response, Route, Spec};
use crate::auth::operator::OperatorAccess;
use crate::auth::token::AccessClaims;
use crate::auth::user::User;
use crate::auth::{Grant, Principal};
use crate::config::{Config, Setting};
use crate::crypto::Subject;
use crate::platform::Platform;
use crate::tenant::{TenantId, TenantState};
use crate::{Problem, clock, telemetry};

/// Longest time for one request, below the 15 s after which Lambda ends the
/// function. A transaction that it cuts off is aborted.
const TIME_LIMIT: Duration = Duration::from_secs(12);

/// Largest body that any route accepts, in bytes.
const BODY_LIMIT: usize = 1024 * 1024;

type Outcome = Pin<Box<dyn Future<Output = Result<Reply, Problem>>>>;

enum Door {
    Guarded(&'static Route, Box<dyn Fn(Call) -> Outcome>),
    Public(&'static PublicRoute, Box<dyn Fn(PublicCall) -> Outcome>),
}

/// One function: a route, its handler, and the environment's clients.
pub struct Pipeline {
    door: Door,
    /// The media type of the route's body.
    takes: Option<&'static str>,
    platform: Arc<Platform>,
}

/// What every guarded route needs to check a session and open a tenant.
const GUARDED: [Setting; 5] = [
    Setting::SessionSecret,
    Setting::SessionTable,
    Setting::MongodbSecret,
    Setting::DataKey,
    Setting::SubjectKeyTable,
];

/// Serves a guarded route until the environment ends. `settings` lists what
/// the handler needs beyond what every guarded route does.
///
/// # Errors
/// At start when configuration is missing, or when the runtime API fails.
pub async fn serve<F, Fut>(
    route: &'static Route,
    settings: &[Setting],
    handler: F,
) -> Result<(), lambda_runtime::Error>
where
    F: Fn(Call) -> Fut + 'static,
    Fut: Future<Output = Result<Reply, Problem>> + 'static,
{
    let door = Door::Guarded(route, Box::new(move |call| Box::pin(handler(call))));
    let settings: Vec<Setting> = GUARDED.iter().chain(settings).copied().collect();
    run(door, &settings).await
}

/// Serves a public route until the environment ends.
///
/// # Errors
/// As [`serve`].
pub async fn serve_public<F, Fut>(
    route: &'static PublicRoute,
    settings: &[Setting],
    handler: F,
) -> Result<(), lambda_runtime::Error>
where
    F: Fn(PublicCall) -> Fut + 'static,
    Fut: Future<Output = Result<Reply, Problem>> + 'static,
{
    let door = Door::Public(route, Box::new(move |call| Box::pin(handler(call))));
    run(door, settings).await
}

async fn run(door: Door, settings: &[Setting]) -> Result<(), lambda_runtime::Error> {
    telemetry::init();
    let config = Config::from_env(settings)?;
    let takes = door.spec().takes();
    let pipeline = Pipeline { door, takes, platform: Arc::new(Platform::new(config)) };
    let pipeline = &pipeline;
    // Boxed, so that what every binary instantiates stays small.
    lambda_runtime::run(service_fn(move |event: LambdaEvent<Event>| {
        let answer: Pin<Box<dyn Future<Output = _>>> = Box::pin(async move {
            Ok::<Response, lambda_runtime::Error>(
                pipeline.answer(event.payload, clock::now()).await,
            )
        });
        answer
    }))
    .await
}

impl Door {
    fn spec(&self) -> &'static Spec {
        match self {
            Self::Guarded(route, _) => &route.spec,
            Self::Public(route, _) => &route.spec,
        }
    }
}

impl Pipeline {
    /// Answers one event, received at `now`.
    pub async fn answer(&self, event: Event, now: Timestamp) -> Response {
        let request_id = event.request_id().to_owned();
        let mut tenant = None;
        let span = tracing::info_span!("request", route = self.door.spec().name, request_id);
        let outcome = match event.into_request(now) {
            Ok(request) => {
                let handled = self.handle(request, &mut tenant).instrument(span);
                tokio::time::timeout(TIME_LIMIT, handled).await.unwrap_or_else(|_| {
                    tracing::error!(request_id, "out of time");
                    Err(Problem::Unavailable)
                })
            }
            Err(problem) => Err(problem),
        };
        let response = Response::new(outcome, &request_id);
        telemetry::finished(
            now,
            &telemetry::Finished {
                route: self.door.spec().name,
                status: response.status_code,
                request_id: &request_id,
                tenant: tenant.as_ref().map(TenantId::as_str),
                duration: i64::try_from(clock::now().duration_since(now).as_millis())
                    .unwrap_or(i64::MAX),
            },
        );
        response
    }

    /// The handler's outcome; `tenant` is filled as soon as it is certain.
    async fn handle(
        &self,
        request: Request,
        tenant: &mut Option<TenantId>,
    ) -> Result<Reply, Problem> {
        match &self.door {
            Door::Public(route, handler) => {
                check_form(&route.spec, self.takes, &request)?;
                handler(PublicCall { request, platform: Arc::clone(&self.platform) }).await
            }
            Door::Guarded(route, handler) => {
                // Boxed: its two ways need more than a future should hold.
                let call = Box::pin(self.admit(route, request)).await?;
                *tenant = Some(call.tenant.id().clone());
                check_form(&route.spec, self.takes, &call.request)?;
                handler(call).await
            }
        }
    }

    /// Session, tenant, user, factors, role, age of the sign-in: in this order,
    /// each refusing by default.
    /// Status and role are the stored user's at this moment, so that
    /// offboarding and a changed role act on the very next request.
    async fn admit(&self, route: &'static Route, request: Request) -> Result<Call, Problem> {
        let now = request.now;
        let token =
            request.header("authorization").and_then(bearer).ok_or(Problem::Unauthenticated)?;
        let (keys, parties) = (self.platform.signing_keys(now).await?, self.platform.parties()?);
        let Ok(claims) = keys.verify(token, parties, now) else {
            let claims =
                keys.verify_access(token, parties, now).map_err(|_| Problem::Unauthenticated)?;
            // Boxed, so that what every request carries stays small.
            return Box::pin(self.admit_operator(route, request, &claims)).await;
        };
        let session = self
            .platform
            .sessions()
            .await?
            .touch(now, claims.sid)
            .await?
            .filter(|session| session.user == claims.sub && session.tenant == claims.tid)
            .ok_or(Problem::Unauthenticated)?;
        let tenant = self
            .platform
            .registry(now)
            .await?
            .of_session(&session, now)
            .await?
            .ok_or(Problem::Unauthenticated)?;
        let (user, settings, own_keys) =
            tokio::join!(tenant.get::<User>(session.user), tenant.settings(), async {
                // What seals the address of whoever changes something.
                if route.spec.method == Method::Get {
                    return Ok(());
                }
                tenant.prefetch([Subject::User(session.user)]).await
            },);
        let user =
            user?.filter(|user| user.entity.accepts(&session)).ok_or(Problem::Unauthenticated)?;
        let (role, settings) = (user.entity.role, settings?.entity);
        if !settings.accept(&session) {
            return Err(Problem::Unauthenticated);
        }
        let lacks_factor = settings.require_second_factor(role) && !session.has_second_factor();
        if lacks_factor && !route.assurance.serves_enrolment() {
            return Err(Problem::SecondFactorRequired);
        }
        if route.permission.grant(role) == Grant::Denied {
            return Err(Problem::Forbidden);
        }
        if tenant.profile().state == TenantState::Closing && route.permission.adds_data() {
            return Err(Problem::TenantClosing);
        }
        if route.assurance.needs_recent() && !session.is_recent(now) {
            return Err(Problem::SignInTooOld);
        }
        own_keys?;
        Ok(Call {
            principal: Principal::new(role, session),
            tenant,
            platform: Arc::clone(&self.platform),
            request,
            spec: &route.spec,
        })
    }

    /// As [`Pipeline::admit`], for an operator with a token of an access:
    /// tenant, access, route. The access is read at every request, so that its
    /// end acts on the very next one. Every request of a living access stands
    /// in the tenant's trail before it is answered.
    async fn admit_operator(
        &self,
        route: &'static Route,
        request: Request,
        claims: &AccessClaims,
    ) -> Result<Call, Problem> {
        let now = request.now;
        let registry = self.platform.registry(now).await?;
        let tenant = registry.of_access(claims, now).await?.ok_or(Problem::Unauthenticated)?;
        let (access, settings) =
            tokio::join!(tenant.get::<OperatorAccess>(claims.sub), tenant.settings());
        let settings = settings?.entity;
        let access = access?
            .filter(|access| access.entity.serves(&settings, now))
            .ok_or(Problem::Unauthenticated)?;
        let call = Call {
            principal: Principal::operator(access),
            tenant,
            platform: Arc::clone(&self.platform),
            request,
            spec: &route.spec,
        };
        let served = route.serves_operators();
        call.record_use_of_access(served).await?;
        if served { Ok(call) } else { Err(Problem::Forbidden) }
    }
}

/// The token of an `Authorization` header (RFC 6750 §2.1); the scheme's name
/// is case-insensitive (RFC 9110 §11.1).
fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim_start())
}

/// Size and media type, before anything is parsed.
fn check_form(spec: &Spec, takes: Option<&'static str>, request: &Request) -> Result<(), Problem> {
    if request.body.len() > BODY_LIMIT {
        return Err(Problem::TooLarge(BODY_LIMIT));
    }
    if let Some(taken) = takes {
        let media_type = request.header("content-type").unwrap_or_default();
        let essence = media_type.split(';').next().unwrap_or_default().trim();
        let json = ["application/json", "application/merge-patch+json", "application/ld+json"];
        let accepted: &[&str] = if taken == CSV { &[CSV] } else { &json };
        if !accepted.iter().any(|known| essence.eq_ignore_ascii_case(known)) {
            return Err(Problem::UnsupportedMediaType(taken));
        }
    }
    if spec.query.is_none() && !request.query.is_empty() {
        return Err(Problem::Invalid(
            request
                .query
                .keys()
                .map(|name| crate::FieldError::new(name, "There is no such parameter."))
                .collect(),
        ));
    }
    Ok(())
}
