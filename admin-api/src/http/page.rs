//! Pages: `{count, next, previous, results}` with absolute URLs (flagsmith-api.md C.0).

use axum::extract::FromRequestParts;
use http::header::HOST;
use http::request::Parts;
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use super::ApiError;

/// The size of a page, also the largest that can be asked for.
const SIZE: i64 = 999;

/// One page of a list.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Page<T> {
    /// How many there are in all.
    count: i64,
    /// Where the next page is.
    next: Option<String>,
    /// Where the one before is.
    previous: Option<String>,
    /// This page.
    results: Vec<T>,
}

/// Which page is asked for.
#[derive(Clone, Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct PageRequest {
    /// Counted from 1.
    #[param(required = false)]
    page: i64,
    /// At most 999.
    #[param(required = false)]
    page_size: i64,
    #[param(ignore)]
    base: String,
    #[param(ignore)]
    query: Vec<(String, String)>,
}

impl PageRequest {
    /// For `limit`.
    pub(crate) fn limit(&self) -> i64 {
        self.page_size
    }

    /// For `offset`.
    pub(crate) fn offset(&self) -> i64 {
        (self.page - 1).saturating_mul(self.page_size)
    }

    /// The page with these results out of `count`; 404 when it lies behind the end.
    pub(crate) fn page<T>(&self, count: i64, results: Vec<T>) -> Result<Page<T>, ApiError> {
        if self.page > 1 && self.offset() >= count {
            return Err(INVALID);
        }
        let next = self.offset().saturating_add(self.page_size) < count;
        Ok(Page {
            count,
            next: next.then(|| self.url(self.page + 1)),
            previous: (self.page > 1).then(|| self.url(self.page - 1)),
            results,
        })
    }

    /// The page of a list that is all in memory.
    pub(crate) fn slice<T>(&self, all: Vec<T>) -> Result<Page<T>, ApiError> {
        let count = i64::try_from(all.len()).unwrap_or(i64::MAX);
        let skip = usize::try_from(self.offset()).unwrap_or(usize::MAX);
        let take = usize::try_from(self.page_size).unwrap_or(usize::MAX);
        self.page(count, all.into_iter().skip(skip).take(take).collect())
    }

    /// The same request for another page; as in Django REST framework, with its parameters in order.
    fn url(&self, page: i64) -> String {
        let page = page.to_string();
        let mut pairs: Vec<(&str, &str)> = self
            .query
            .iter()
            .filter(|(name, _)| name != "page")
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        if page != "1" {
            pairs.push(("page", &page));
        }
        pairs.sort_by_key(|(name, _)| *name);
        let query = form_urlencoded::Serializer::new(String::new())
            .extend_pairs(pairs)
            .finish();
        if query.is_empty() {
            self.base.clone()
        } else {
            format!("{}?{query}", self.base)
        }
    }
}

const INVALID: ApiError = ApiError::NotFoundBecause("Invalid page.");

impl<S: Send + Sync> FromRequestParts<S> for PageRequest {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        Self::read(parts)
    }
}

impl PageRequest {
    fn read(parts: &Parts) -> Result<Self, ApiError> {
        let query: Vec<(String, String)> =
            form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes())
                .into_owned()
                .collect();
        let last = |name: &str| {
            query
                .iter()
                .rev()
                .find(|(n, _)| n == name)
                .map(|(_, v)| v.as_str())
        };
        let page = match last("page") {
            None => 1,
            Some(text) => text.parse().ok().filter(|page| *page >= 1).ok_or(INVALID)?,
        };
        let page_size = last("page_size")
            .and_then(|text| text.parse::<i64>().ok())
            .filter(|size| *size >= 1)
            .map_or(SIZE, |size| size.min(SIZE));
        let header = |name: &str| {
            parts
                .headers
                .get(name)
                .and_then(|value| value.to_str().ok())
        };
        let scheme = header("x-forwarded-proto").unwrap_or("http");
        let host = header(HOST.as_str())
            .or_else(|| parts.uri.authority().map(http::uri::Authority::as_str))
            .unwrap_or("localhost");
        let path = parts
            .extensions
            .get::<axum::extract::OriginalUri>()
            .map_or(parts.uri.path(), |original| original.0.path());
        Ok(Self {
            page,
            page_size,
            base: format!("{scheme}://{host}{path}"),
            query,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(target: &str) -> Result<PageRequest, ApiError> {
        let request = http::Request::get(target)
            .header("host", "flags.example")
            .body(())
            .unwrap();
        PageRequest::read(&request.into_parts().0)
    }

    #[test]
    fn links_keep_the_rest_of_the_query() {
        let page = request("/x/?page_size=2&page=2&a=b+c").unwrap();
        assert_eq!((page.limit(), page.offset()), (2, 2));
        let page = page.page(5, vec![3, 4]).unwrap();
        assert_eq!(
            page.next.as_deref(),
            Some("http://flags.example/x/?a=b+c&page=3&page_size=2")
        );
        assert_eq!(
            page.previous.as_deref(),
            Some("http://flags.example/x/?a=b+c&page_size=2")
        );
    }

    #[test]
    fn pages_that_do_not_exist() {
        for target in ["/x/?page=0", "/x/?page=-1", "/x/?page=two"] {
            assert!(request(target).is_err(), "{target}");
        }
        assert!(request("/x/?page=2").unwrap().page(5, vec![0]).is_err());
        assert!(request("/x/").unwrap().page::<i32>(0, vec![]).is_ok());
    }
}
