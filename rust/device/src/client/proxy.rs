//! A proxy between a client and its service, from the variables `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and
//! `NO_PROXY`.
//!
//! The client reaches a service behind `https://` through a tunnel, so the proxy sees neither records nor tokens. It
//! sends a request for `http://` to the proxy, which forwards it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures::future::BoxFuture;
use hyper::Uri;
use hyper::header::HeaderValue;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use hyper_util::client::proxy::matcher::Matcher;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tower::Service;
use url::Url;

use crate::error::{BoxError, Error};
use crate::loopback::is_loopback;

/// The proxy to a service.
#[derive(Clone)]
pub(super) struct Proxy {
    uri: Uri,
    authorization: Option<HeaderValue>,
    tunnels: bool,
}

impl Proxy {
    /// Returns the proxy that the environment names for a service. The client always reaches a service on this machine
    /// directly.
    pub(super) fn to(service: &Url) -> Result<Option<Proxy>, Error> {
        Proxy::by(&Matcher::from_env(), service)
    }

    fn by(matcher: &Matcher, service: &Url) -> Result<Option<Proxy>, Error> {
        let Ok(uri) = service.as_str().parse::<Uri>() else { return Ok(None) };
        let Some(found) = matcher.intercept(&uri).filter(|_| !is_loopback(service)) else { return Ok(None) };
        if found.uri().scheme_str() != Some("http") {
            let (proxy, host) = (found.uri(), service.host_str().unwrap_or_default());
            return Err(Error::Config(format!(
                "proxy: {proxy} is not supported, only http://HOST:PORT; to reach {host} directly, add it to NO_PROXY"
            )));
        }
        let mut authorization = found.basic_auth().cloned();
        authorization.iter_mut().for_each(|value| value.set_sensitive(true));
        Ok(Some(Proxy { uri: found.uri().clone(), authorization, tunnels: service.scheme() == "https" }))
    }

    /// Returns the address of the proxy, without secrets.
    pub(super) fn place(&self) -> &Uri {
        &self.uri
    }

    /// Returns the credentials for the proxy itself; within a tunnel the proxy does not see requests.
    pub(super) fn authorization(&self) -> Option<&HeaderValue> {
        self.authorization.as_ref().filter(|_| !self.tunnels)
    }
}

/// Connects to a service, or to its proxy.
#[derive(Clone)]
pub(super) struct Connector {
    pub(super) tcp: HttpConnector,
    pub(super) proxy: Option<Proxy>,
}

impl Service<Uri> for Connector {
    type Response = Stream;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Stream, BoxError>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.tcp.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, service: Uri) -> Self::Future {
        let mut tcp = self.tcp.clone();
        match self.proxy.clone() {
            None => {
                Box::pin(async move { Ok(Stream { tcp: tcp.call(service).await?, is_forwarded: false }) })
            }
            Some(proxy) if proxy.tunnels => {
                let mut tunnel = Tunnel::new(proxy.uri, tcp);
                if let Some(authorization) = proxy.authorization {
                    tunnel = tunnel.with_auth(authorization);
                }
                Box::pin(async move { Ok(Stream { tcp: tunnel.call(service).await?, is_forwarded: false }) })
            }
            Some(proxy) => {
                Box::pin(async move { Ok(Stream { tcp: tcp.call(proxy.uri).await?, is_forwarded: true }) })
            }
        }
    }
}

/// A connection. If a proxy forwards its requests, they name the whole URL.
pub(super) struct Stream {
    tcp: TokioIo<TcpStream>,
    is_forwarded: bool,
}

impl Stream {
    fn tcp(self: Pin<&mut Self>) -> Pin<&mut TokioIo<TcpStream>> {
        Pin::new(&mut self.get_mut().tcp)
    }
}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        self.tcp.connected().proxy(self.is_forwarded)
    }
}

impl Read for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        self.tcp().poll_read(context, buffer)
    }
}

// Without vectored writes, which raise SIGPIPE: that ends a program in C whose service closes the connection.
impl Write for Stream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.tcp().poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.tcp().poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.tcp().poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxy_to(service: &str, proxy: &str, no: &str) -> Result<Option<Proxy>, Error> {
        let matcher = Matcher::builder().all(proxy.to_owned()).no(no.to_owned()).build();
        Proxy::by(&matcher, &service.parse().unwrap())
    }

    #[test]
    fn the_environment_names_the_proxy() {
        let found = proxy_to("https://audit.example/", "http://user:hush@proxy:3128", "").unwrap().unwrap();
        assert_eq!(found.place(), "http://proxy:3128/");
        assert!(found.authorization.is_some() && found.authorization().is_none(), "not inside of the tunnel");
        let found = proxy_to("http://audit.example/", "http://user:hush@proxy:3128", "").unwrap().unwrap();
        assert!(found.authorization().is_some());
        assert!(proxy_to("https://audit.example/", "http://proxy:3128", ".example").unwrap().is_none());
        assert!(proxy_to("https://audit.example/", "", "").unwrap().is_none());
        for local in
            ["http://127.0.0.1:1/", "http://[::1]:1/", "http://localhost:1/", "http://[::ffff:127.0.0.1]/"]
        {
            assert!(proxy_to(local, "http://proxy:3128", "").unwrap().is_none(), "{local}");
        }
    }

    #[test]
    fn an_unusable_proxy_is_one_sentence_without_the_password() {
        let error = proxy_to("https://audit.example/", "socks5://user:hush@proxy:1080", "").err().unwrap();
        let text = error.to_string();
        assert!(text.contains("NO_PROXY") && text.contains("socks5://proxy:1080"), "{text}");
        assert!(!text.contains("hush"), "{text}");
    }
}
