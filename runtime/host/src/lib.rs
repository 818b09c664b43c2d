//! ASL-HOST: layout, domain lifecycle, admission, leases and the StoreHandle.
