//! Requests by hand.

use bytes::Bytes;
use http_body_util::Full;
use hyper::Request;
use hyper::header::HeaderMap;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;

/// The head of an answer.
pub struct Answer {
    pub status: u16,
    headers: HeaderMap,
}

impl Answer {
    /// A header that must be there.
    pub fn header(&self, name: &str) -> String {
        self.headers.get(name).expect("the header is there").to_str().unwrap().to_owned()
    }
}

/// `GET` with these headers.
pub async fn get(url: &str, headers: &[(&str, &str)]) -> Answer {
    let request = headers.iter().fold(Request::get(url), |request, (name, value)| request.header(*name, *value));
    let request = request.body(Full::<Bytes>::default()).unwrap();
    let response = Client::builder(TokioExecutor::new()).build_http().request(request).await.unwrap();
    Answer { status: response.status().as_u16(), headers: response.headers().clone() }
}
