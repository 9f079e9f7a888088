//! Alarms, and what nodes say of themselves.

use chainfire_proto::etcdserverpb::{
    AlarmMember, AlarmRequest, AlarmResponse, AlarmType, alarm_request::AlarmAction,
};
use prost::Message as _;

use super::{Effect, Work};
use crate::{
    internal::{Caller, MemberAttributes, outcome::Outcome},
    number::header,
    refusal::{REQUEST_TOO_LARGE, TOO_MANY_REQUESTS},
    rows,
};

/// Nodes at most, those that have left and were not forgotten included.
pub(crate) const MEMBERS_MAX: usize = 1_000;
/// Alarms at most.
const ALARMS_MAX: usize = 2 * MEMBERS_MAX;
/// What a node says of itself, at most.
const MEMBER_BYTES_MAX: usize = 16 << 10;

impl Work<'_, '_> {
    /// Nodes raise alarms by themselves; a user who does must be one who may.
    pub(super) fn alarm(&mut self, caller: &Caller, request: &AlarmRequest) -> Effect {
        if !caller.user.is_empty() {
            self.auth.may_administer(caller)?;
        }
        let wanted = AlarmMember { member_id: request.member_id, alarm: request.alarm };
        let alarms = match request.action() {
            AlarmAction::Get => self.raised(request.alarm()),
            AlarmAction::Activate => self.raise(wanted)?,
            AlarmAction::Deactivate => self.lower(wanted),
        };
        Ok(Outcome::Alarm(AlarmResponse { header: header(self.revision()), alarms }))
    }

    fn raised(&self, kind: AlarmType) -> Vec<AlarmMember> {
        let alarms = self.settings.alarms.iter().copied();
        alarms.filter(|alarm| kind == AlarmType::None || alarm.alarm() == kind).collect()
    }

    fn raise(&mut self, alarm: AlarmMember) -> Result<Vec<AlarmMember>, crate::StoreError> {
        if !self.settings.alarms.contains(&alarm) {
            if self.settings.alarms.len() >= ALARMS_MAX {
                return Err(TOO_MANY_REQUESTS.into());
            }
            self.settings.alarms.push(alarm);
            self.save_settings();
        }
        Ok(vec![alarm])
    }

    fn lower(&mut self, alarm: AlarmMember) -> Vec<AlarmMember> {
        let before = self.settings.alarms.len();
        self.settings.alarms.retain(|raised| *raised != alarm);
        if self.settings.alarms.len() == before {
            return Vec::new();
        }
        self.save_settings();
        vec![alarm]
    }

    pub(super) fn member(&mut self, member: &MemberAttributes) -> Effect {
        let row = rows::member(member.id);
        let encoded = member.encode_to_vec();
        if encoded.len() > MEMBER_BYTES_MAX {
            return Err(REQUEST_TOO_LARGE.into());
        }
        if self.transaction.aux(self.keys, &row)?.is_none() {
            let (start, end) = rows::members();
            if self.transaction.aux_rows(self.keys, &start, &end, MEMBERS_MAX)?.len() >= MEMBERS_MAX {
                return Err(TOO_MANY_REQUESTS.into());
            }
        }
        self.transaction.put_aux(self.keys, &row, encoded);
        Ok(self.done())
    }

    /// Its alarms go with it: nobody else would lower them.
    pub(super) fn forget_member(&mut self, id: u64) -> Effect {
        self.transaction.delete_aux(self.keys, &rows::member(id));
        self.settings.alarms.retain(|alarm| alarm.member_id != id);
        self.save_settings();
        Ok(self.done())
    }
}
