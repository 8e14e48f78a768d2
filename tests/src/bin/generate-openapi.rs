//! Writes functions/operations/openapi.json, and the schemas of events into
//! docs/events/.

fn main() -> std::io::Result<()> {
    let root = keystone_tests::stack::root();
    std::fs::write(
        root.join("functions/operations/openapi.json"),
        keystone_tests::openapi::text(),
    )?;
    for (name, schema) in keystone_incidents::event::schemas() {
        std::fs::write(root.join("docs/events").join(name), format!("{schema:#}\n"))?;
    }
    Ok(())
}
