//! The commands that this build leaves out: each reports the feature that contains it.

/// The arguments and the error of a command that is left out.
macro_rules! absent {
    ($feature:literal, $problem:literal) => {
        #[derive(clap::Args, Debug)]
        #[command(about = concat!("Not in this build: build with --features ", $feature))]
        pub(crate) struct Absent {
            #[arg(hide = true, trailing_var_arg = true, allow_hyphen_values = true)]
            arguments: Vec<std::ffi::OsString>,
        }

        impl Absent {
            pub(crate) fn run(
                &self,
                _: &crate::output::Output,
            ) -> Result<crate::exit::Exit, crate::exit::Failure> {
                let message = concat!($problem, "; build with --features ", $feature);
                Err(crate::exit::Failure::usage("usage", message))
            }
        }
    };
}

/// The operations and drills.
#[cfg(not(feature = "ops"))]
pub(super) mod operations {
    absent!("ops", "this build has neither operations nor drills");

    pub(crate) mod drill {
        pub(crate) use super::Absent as Drill;
    }

    pub(crate) mod ops {
        pub(crate) use super::Absent as Ops;

        /// The command that reports to PostgreSQL with exit codes of its own.
        pub(crate) const FETCH_WAL: &str = "fetch-wal";
    }
}

/// The commands of the network.
#[cfg(not(feature = "serve"))]
pub(super) mod network {
    absent!("serve", "this build has neither a service nor a client of one");

    pub(crate) mod inject {
        pub(crate) use super::Absent as Inject;
    }

    pub(crate) mod monitor {
        pub(crate) use super::Absent as Monitor;
    }

    pub(crate) mod push {
        pub(crate) use super::Absent as Push;
    }

    pub(crate) mod rotate {
        pub(crate) use super::Absent as Rotate;
    }

    pub(crate) mod serve {
        pub(crate) use super::Absent as Serve;
    }

    pub(crate) mod token {
        pub(crate) use super::Absent as Token;
    }
}
