//! Joining: codes are for one use and a limited time, and guessing is slow.

use crate::house::House;
use crate::http;
use stacksync_server::accounts::secret::JoinCode;
use stacksync_server::db::{UnixMs, UserKey};

#[tokio::test(flavor = "multi_thread")]
async fn a_code_joins_one_device() {
    let house = House::new().await;
    let code = house.admin(&["user", "add", "anna", "--email", "a@b"])["join_code"].as_str().unwrap().to_owned();
    let first = house.try_join(&code.to_lowercase().replace('-', " ")).await;
    assert_eq!(first.status, 200);
    assert_eq!(first.json()["protocolVersion"], 1);
    let again = house.try_join(&code).await;
    assert_eq!((again.status, &*again.code()), (403, "badJoinCode"));
    assert_eq!(house.admin(&["device", "list", "anna"]).as_array().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_code_is_of_no_use() {
    let house = House::new().await;
    house.admin(&["user", "add", "anna", "--email", "a@b"]);
    let db = house.db();
    let anna = db.user(UserKey::Name("anna".into())).await.unwrap().unwrap();
    let code = JoinCode::random().unwrap();
    db.add_join_code(anna.id, code.hash(), UnixMs(UnixMs::now().0 - 1)).await.unwrap();
    assert_eq!(house.try_join(&code.to_string()).await.code(), "badJoinCode");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_guesses_must_wait() {
    let house = House::new().await;
    let good = house.admin(&["user", "add", "anna", "--email", "a@b"])["join_code"].as_str().unwrap().to_owned();
    let mut last = house.try_join("WRONG").await;
    for _ in 0..120 {
        if last.status == 429 {
            break;
        }
        assert_eq!(last.status, 403);
        last = house.try_join("00000-00000-00000-00000").await;
    }
    assert_eq!(last.code(), "tooManyAttempts");
    assert!(last.head.to_lowercase().contains("retry-after: "));
    assert_eq!(house.try_join(&good).await.status, 429);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_makes_no_sense_is_answered() {
    let house = House::new().await;
    let long = serde_json::json!({ "code": "x", "deviceName": "n".repeat(300) }).to_string();
    for (body, status, code) in [
        (&b""[..], 400, "badRequest"),
        (b"{", 400, "badRequest"),
        (b"\xff\xfe", 400, "badRequest"),
        (b"{\"code\":5,\"deviceName\":\"\"}", 400, "badRequest"),
        (long.as_bytes(), 400, "badRequest"),
        (&[b' '; 5_000], 413, "tooLarge"),
    ] {
        let answer = http::send(house.address(), "POST", "/v1/join", &[], body).await;
        assert_eq!((answer.status, &*answer.code()), (status, code));
    }
    for (method, path, status, code) in
        [("GET", "/v1/join", 405, "methodNotAllowed"), ("GET", "/", 404, "notFound"), ("POST", "/v2/join", 404, "notFound")]
    {
        let answer = http::send(house.address(), method, path, &[], b"").await;
        assert_eq!((answer.status, &*answer.code()), (status, code), "{method} {path}");
    }
}
