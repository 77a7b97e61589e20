//! The committed OpenAPI document matches the service.

use edgesentry_serve::http::openapi;

use crate::serving::Serving;

#[tokio::test(flavor = "multi_thread")]
async fn the_committed_document_is_that_of_the_service() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/openapi.json");
    if std::env::var_os("EDGESENTRY_WRITE").is_some() {
        std::fs::write(path, openapi()).unwrap();
    }
    let committed = std::fs::read_to_string(path).unwrap();
    assert!(committed == openapi(), "docs/openapi.json is old; run make generated");
    let serving = Serving::start("").await;
    assert_eq!(serving.get("/openapi.json", None).await.body, committed);
}
