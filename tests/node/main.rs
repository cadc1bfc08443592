//! Tests on a real node: kubelet, containerd and a network of pods. Image and chart of the operator are published to a
//! registry there and installed from it, and workloads mount its Secrets.
//!
//! `cargo xtask test` runs them where the machine allows it; elsewhere they count as skipped, and the reason is printed.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test fails by panicking, and says what it measured"
)]

mod install;
mod readers;
mod replicas;
mod samples;
mod workload;
mod world;

use std::ffi::OsStr;
use std::process::ExitCode;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use ground::namespaces;
use libtest_mimic::{Arguments, Trial};
use world::World;

/// The folder of a release to publish and install; `cargo xtask test` names it.
const OPERATOR: &str = "NODE_OPERATOR";
/// Set where a machine that runs no node is a failure.
const REQUIRED: &str = "NODE_REQUIRED";

fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some(readers::RUST) {
        tokio::runtime::Runtime::new().unwrap().block_on(readers::rust());
    }
    let mut arguments = Arguments::from_args();
    if namespaces::inside().is_some() {
        namespaces::set_up().unwrap();
        // One node for all, and the last test takes the operator away.
        arguments.test_threads = Some(1);
        return libtest_mimic::run(&arguments, trials(None)).exit_code();
    }
    let reason = match std::env::var_os(OPERATOR) {
        None => Some("they need what `cargo xtask test` builds".to_owned()),
        Some(_) => namespaces::missing(),
    };
    match reason {
        Some(reason) if std::env::var_os(REQUIRED).is_some() => {
            eprintln!("error: the node tests cannot run: {reason}");
            ExitCode::FAILURE
        }
        Some(reason) => {
            println!("the node tests are skipped: {reason}");
            libtest_mimic::run(&arguments, trials(Some(&reason))).exit_code()
        }
        None if arguments.list => libtest_mimic::run(&arguments, trials(None)).exit_code(),
        None => {
            let variables: [(&str, &OsStr); 0] = [];
            let status = namespaces::run_inside(&variables).unwrap();
            // A signal leaves no code.
            ExitCode::from(u8::try_from(status.code().unwrap_or(1)).unwrap_or(1))
        }
    }
}

/// In their order: each leaves the operator running, the last aside.
fn trials(skipped: Option<&str>) -> Vec<Trial> {
    macro_rules! trials {
        ($($module:ident::$test:ident),* $(,)?) => {
            vec![$(Trial::test(concat!(stringify!($module), "::", stringify!($test)), || {
                let (runtime, world) = world();
                runtime.block_on($module::$test(world));
                Ok(())
            })),*]
        };
    }
    let trials = trials![
        install::one_helm_install_brings_two_replicas_up_where_pod_security_is_restricted,
        workload::the_readmes_commands_lead_to_a_pod_that_reads_its_bucket,
        samples::every_sample_becomes_ready_and_its_key_does_what_it_says,
        samples::the_sample_of_classes_bounds_its_users_and_their_keys_work,
        workload::two_rotations_under_load_fail_no_request,
        workload::a_revocation_under_load_fails_only_what_still_has_the_old_key,
        readers::ten_renewals_of_a_session_fail_no_request_of_any_reader,
        replicas::invariant_5_a_leader_killed_while_it_rotates_leaves_one_key_to_the_next,
        replicas::invariant_5_a_leader_frozen_while_it_rotates_leaves_one_key_to_the_next,
        install::helm_upgrade_changes_no_key,
        install::helm_uninstall_leaves_the_users_and_an_install_finds_them_again,
    ];
    trials.into_iter().map(|trial| trial.with_ignored_flag(skipped.is_some())).collect()
}

/// The node, started by the first test that wants it. It ends with this program.
fn world() -> (&'static tokio::runtime::Runtime, &'static World) {
    static WORLD: OnceLock<(tokio::runtime::Runtime, World)> = OnceLock::new();
    static TRIED: AtomicBool = AtomicBool::new(false);
    let (runtime, world) = WORLD.get_or_init(|| {
        assert!(!TRIED.swap(true, Ordering::SeqCst), "the node did not come up: see the first test");
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let world = runtime.block_on(World::start());
        (runtime, world)
    });
    (runtime, world)
}
