//! Petitions that came as a scanned code: the request alone, whose DAM must be found.

use super::{name, Keeper, Petition};
use crate::domain::Domain;
use crate::keystick::Signed;
use crate::layout::domain as place;
use asl_auth::AdmissionRequest;
use asl_backend::files;
use asl_core::{Digest, Error, Kind, Result};

impl Keeper {
    /// A DAM that this host holds, in a domain's records, by its digest.
    ///
    /// # Errors
    /// `Io`.
    pub fn dam(&self, digest: &Digest) -> Result<Option<Signed>> {
        for id in self.root.domains()? {
            // A damaged domain's DAM is as good as any: it proves itself.
            let Ok(domain) = Domain::open(&self.root, &id) else {
                continue;
            };
            for number in domain.recorded().keys() {
                let dir = domain.dir().join(place::admission(*number));
                let read = |name| files::read_limited(&dir.join(name), super::LONGEST);
                if let (Ok(bytes), Ok(sig)) = (read(name::DAM), read(name::DAM_SIG)) {
                    if Digest::of(&bytes) == *digest {
                        return Ok(Some(Signed { bytes, sig }));
                    }
                }
            }
        }
        Ok(None)
    }

    /// Makes a petition of a scanned request: the DAM it names must lie here, or be given.
    ///
    /// # Errors
    /// `Invalid` where it is no request; `NotFound` where nobody has the DAM it names.
    pub fn petition_of(&self, request: Signed, dam: Option<Signed>) -> Result<Petition> {
        let named = AdmissionRequest::decode(&request.bytes)?.dam;
        let dam = match dam {
            Some(dam) if Digest::of(&dam.bytes) == named => Some(dam),
            Some(_) => {
                let why = "it is not the DAM that the request names";
                return Err(Error::new(Kind::Refused, "use", "the DAM given", why)
                    .next("give the DAM of the key stick that the request was made with"));
            }
            None => self.dam(&named)?,
        };
        let dam = dam.ok_or_else(|| {
            let why = format!("the request names DAM {named}, which is not on this host");
            Error::new(Kind::NotFound, "find", "the DAM", why)
                .next("add --dam DIR, with dam.cbor and dam.sig as they lie on the key stick")
        })?;
        Ok(Petition { dam, request })
    }
}
