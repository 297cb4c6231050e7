//! A Worker that answers `BYTES` constant bytes to everything, as plainly as the `worker` crate allows.

use std::cell::OnceCell;

use worker::{Context, Env, Request, Response, event};

thread_local! {
    static BODY: OnceCell<Vec<u8>> = const { OnceCell::new() };
}

#[event(fetch)]
async fn fetch(_request: Request, env: Env, _context: Context) -> worker::Result<Response> {
    let body = BODY.with(|body| {
        let fill = || {
            let length = env.var("BYTES").map(|bytes| bytes.to_string().parse());
            vec![b'x'; length.unwrap_or(Ok(0)).unwrap_or(0)]
        };
        body.get_or_init(fill).clone()
    });
    Response::from_bytes(body)
}
