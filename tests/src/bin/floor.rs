//! An empty function on `lambda_http`: what any Rust function behind API
//! Gateway costs, for the benchmarks to compare with.

use lambda_http::{Body, Error, Response, run, service_fn};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    run(service_fn(async |_| Ok::<_, Error>(Response::new(Body::Empty)))).await
}
