//! Whether a transaction's compares hold (API reference, "Transaction").

use std::{cmp::Ordering, ops::ControlFlow};

use chainfire_proto::{
    etcdserverpb::{
        Compare,
        compare::{CompareResult, CompareTarget, TargetUnion},
    },
    mvccpb::KeyValue,
};

use crate::{
    StoreError,
    view::{self, View},
};

/// Whether it holds for every key of its range. A value compares with that of no key that is not there.
pub(crate) fn holds(view: &mut impl View, compare: &Compare) -> Result<bool, StoreError> {
    let (mut found, mut holds) = (false, true);
    view::records(view, &view::range_of(&compare.key, &compare.range_end), |kv, _| {
        found = true;
        holds = holds_for(compare, &kv);
        if holds { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    if found {
        return Ok(holds);
    }
    Ok(compare.target() != CompareTarget::Value && holds_for(compare, &KeyValue::default()))
}

fn holds_for(compare: &Compare, kv: &KeyValue) -> bool {
    let order = match compare.target() {
        CompareTarget::Version => kv.version.cmp(&number(compare)),
        CompareTarget::Create => kv.create_revision.cmp(&number(compare)),
        CompareTarget::Mod => kv.mod_revision.cmp(&number(compare)),
        CompareTarget::Lease => kv.lease.cmp(&number(compare)),
        CompareTarget::Value => match &compare.target_union {
            Some(TargetUnion::Value(value)) => kv.value.cmp(value),
            _ => kv.value[..].cmp(&[]),
        },
    };
    match compare.result() {
        CompareResult::Equal => order == Ordering::Equal,
        CompareResult::NotEqual => order != Ordering::Equal,
        CompareResult::Greater => order == Ordering::Greater,
        CompareResult::Less => order == Ordering::Less,
    }
}

/// The number that a compare names, if it is of what is compared; otherwise 0, as in etcd.
fn number(compare: &Compare) -> i64 {
    match (compare.target(), &compare.target_union) {
        (CompareTarget::Version, Some(TargetUnion::Version(number)))
        | (CompareTarget::Create, Some(TargetUnion::CreateRevision(number)))
        | (CompareTarget::Mod, Some(TargetUnion::ModRevision(number)))
        | (CompareTarget::Lease, Some(TargetUnion::Lease(number))) => *number,
        _ => 0,
    }
}
