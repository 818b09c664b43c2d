//! The rules in force: read anew whenever their files change, kept where those have a mistake.

use crate::root::HostRoot;
use asl_auth::{HostPolicy, PublicKey};
use asl_core::{Error, Result};

/// What became of the keeper's files since the last look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// They were changed, and are in force.
    Taken,
    /// They have a mistake, and the rules before stay in force.
    Kept(Error),
}

/// A host's policy and the roots it trusts.
#[derive(Clone, Debug)]
pub(super) struct Rules {
    pub(super) policy: HostPolicy,
    pub(super) trusted: Vec<PublicKey>,
    mistake: Option<Error>,
    news: Option<News>,
}

impl Rules {
    /// Reads them for the first time.
    pub(super) fn read(root: &HostRoot) -> Result<Rules> {
        Ok(Rules {
            policy: root.policy()?,
            trusted: root.trusted_roots()?,
            mistake: None,
            news: None,
        })
    }

    /// Takes up what was changed, both files or neither.
    pub(super) fn refresh(&mut self, root: &HostRoot) {
        match Rules::read(root) {
            Ok(now) => {
                let changed = now.policy != self.policy || now.trusted != self.trusted;
                if changed || self.mistake.is_some() {
                    *self = now;
                    self.news = Some(News::Taken);
                }
            }
            // Told once, not at every look.
            Err(e) if self.mistake.as_ref() == Some(&e) => {}
            Err(e) => {
                self.mistake = Some(e.clone());
                self.news = Some(News::Kept(e));
            }
        }
    }

    /// What there is to tell, once.
    pub(super) fn take_news(&mut self) -> Option<News> {
        self.news.take()
    }
}
