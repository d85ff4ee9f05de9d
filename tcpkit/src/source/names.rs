//! Host and service names in a program that has its C library in it.
//!
//! A capture filter may hold names (`host db1 and port http`), which libpcap has the C library look up. glibc loads what
//! nsswitch.conf(5) names at run time; into a static program it would load parts of the host's own, maybe
//! other, glibc, which ends in crashes. Files and DNS are built in and need nothing.

/// Has names looked up in files and by DNS alone, where the program is static. Called once, before any is.
pub fn built_in_only() {
    #[cfg(all(target_os = "linux", target_env = "gnu", target_feature = "crt-static"))]
    for (database, services) in DATABASES {
        // SAFETY: both strings live forever and end in a zero; no other thread looks names up yet.
        unsafe { __nss_configure_lookup(database.as_ptr(), services.as_ptr()) };
    }
}

/// What is looked up, and in what: names of <nss.h>.
#[cfg(all(target_os = "linux", target_env = "gnu", target_feature = "crt-static"))]
const DATABASES: [(&std::ffi::CStr, &std::ffi::CStr); 7] = [
    (c"hosts", c"files dns"),
    (c"networks", c"files dns"),
    (c"services", c"files"),
    (c"protocols", c"files"),
    (c"ethers", c"files"),
    (c"passwd", c"files"),
    (c"group", c"files"),
];

#[cfg(all(target_os = "linux", target_env = "gnu", target_feature = "crt-static"))]
unsafe extern "C" {
    /// Replaces what nsswitch.conf says of a database (<nss.h> of glibc).
    fn __nss_configure_lookup(
        database: *const std::ffi::c_char,
        services: *const std::ffi::c_char,
    ) -> std::ffi::c_int;
}
