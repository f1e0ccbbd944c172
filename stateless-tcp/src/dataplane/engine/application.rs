//! The services of a generation, as the application that the protocol asks for.

use crate::dataplane::query_log::QueryLog;
use crate::services::{Context, FetchId, Service};
use crate::serving::ServingState;
use stateless_tcp_core::tcp::application::{Answered, Application, Framing, RequestContext, Unavailable};
use std::time::SystemTime;

/// The services that are served, and the one that is selected.
pub(super) struct ServedApplication<'a> {
    pub(super) state: &'a ServingState,
    pub(super) worker: usize,
    pub(super) now: SystemTime,
    pub(super) service: Option<&'a dyn Service>,
    pub(super) responses: &'a mut Vec<u8>,
    pub(super) query_log: &'a mut QueryLog,
}

impl ServedApplication<'_> {
    #[inline]
    fn context(&self, request: &RequestContext) -> Context {
        let RequestContext { origin, policy, persistent, whole, room } = *request;
        Context { worker: self.worker, origin, policy, now: self.now, persistent, whole, room }
    }
}

impl Application for ServedApplication<'_> {
    type FetchId = FetchId;

    #[inline]
    fn select(&mut self, generation: u8, port: u16) -> bool {
        self.service = self.state.content(generation).and_then(|content| content.service(port));
        self.service.is_some()
    }

    #[inline]
    fn frame(&self, stream: &[u8]) -> Framing {
        self.service.map_or(Framing::Incomplete, |service| service.frame(stream))
    }

    #[inline]
    fn starts_message(&self, stream: &[u8]) -> bool {
        self.service.is_some_and(|service| service.starts_message(stream))
    }

    fn is_prefix(&self, tail: &[u8]) -> bool {
        self.service.is_some_and(|service| service.is_prefix(tail))
    }

    fn prefix(&self, stream: &[u8]) -> Option<[u8; 2]> {
        self.service?.prefix(stream)
    }

    #[inline]
    fn answer(&mut self, message: &[u8], request: &RequestContext) -> Result<Answered, Unavailable<FetchId>> {
        let context = self.context(request);
        self.service.ok_or(Unavailable::NotCached)?.answer(message, &context, self.responses)
    }

    fn prefetch(&mut self, message: &[u8], request: &RequestContext) {
        if let Some(service) = self.service {
            service.prepare(message, &self.context(request));
        }
    }

    #[inline]
    fn log_query(&mut self, message: &[u8], start: usize) {
        if let Some(service) = self.service {
            self.query_log.add(service, message, start..self.responses.len());
        }
    }

    #[inline]
    fn response_length(&self) -> usize {
        self.responses.len()
    }

    #[inline]
    fn truncate_responses(&mut self, length: usize) {
        self.responses.truncate(length);
        if length == 0 {
            self.query_log.clear();
        }
    }

    fn drop_responses(&mut self, length: usize) {
        self.responses.drain(..length);
    }
}
