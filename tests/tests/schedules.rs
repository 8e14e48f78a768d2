//! Jobs that run by themselves, and what becomes of a run that fails for good.

use std::time::Duration;

use keystone_tests::Stack;
use keystone_tests::stack::random;
use serde_json::{Value, json};

/// The emulator tries what is left for a function twice more, as Lambda does, but
/// after one and two seconds. What it then leaves has the form of a destination:
/// the event in an envelope that names the function. Lambda leaves the event as it
/// is, and says in the message's attributes what went wrong.
#[tokio::test]
async fn a_run_that_fails_for_good_leaves_its_event_among_the_dead_letters() {
    let stack = Stack::load();
    let function = stack.function("watch-disclosures");
    let dead_letters = stack.aws().dead_letters_of_function(&function).await;
    // The same as that of a queue, but for that of breaches, which stands apart.
    for (name, same) in [("record-bounce", true), ("notify-breach", false)] {
        let queue = stack.aws().queue_of(&stack.function(name)).await;
        assert_eq!(dead_letters == stack.aws().dead_letters_of(&queue).await.0, same, "{name}");
    }

    // A field that the job does not know: it refuses the event each time, and does
    // nothing.
    let mark = format!("{:032x}", u128::from_be_bytes(random()));
    let event = json!({ "unheard_of": mark });
    stack.aws().invoke_later(&function, &event).await;
    let mut given_up = None;
    for _ in 0..150 {
        given_up = stack.aws().take_message(&dead_letters, &mark).await;
        if given_up.is_some() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(400)).await;
    }
    let body: Value = serde_json::from_str(given_up.unwrap()["Body"].as_str().unwrap()).unwrap();
    assert_eq!(body["requestPayload"], event);
    let failed = body["requestContext"]["functionArn"].as_str().unwrap();
    assert!(failed.ends_with(&format!(":{function}")), "{failed}");
}
