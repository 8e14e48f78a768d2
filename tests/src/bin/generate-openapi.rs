//! Writes functions/operations/openapi.json.

fn main() -> std::io::Result<()> {
    let path = keystone_tests::stack::root().join("functions/operations/openapi.json");
    std::fs::write(path, keystone_tests::openapi::text())
}
