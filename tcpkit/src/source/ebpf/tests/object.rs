//! The embedded object has what the boundary names.

use tcpkit_common::{map, program, setting};

use crate::source::ebpf::object::OBJECT;

#[test]
fn every_map_program_and_setting_of_the_boundary_is_in_the_object() {
    let object = aya_obj::Object::parse(OBJECT).unwrap();
    for name in map::ALL {
        assert!(object.maps.contains_key(name), "no map {name}");
    }
    for name in program::ALL {
        assert!(object.programs.contains_key(name), "no program {name}");
    }
    for name in setting::ALL {
        let value = [0_u8; 4];
        let of = |bytes: usize| {
            let globals = [(name, (&value[..bytes], true))].into_iter().collect();
            aya_obj::Object::parse(OBJECT)
                .unwrap()
                .patch_map_data(globals)
        };
        assert!(of(1).is_ok() || of(4).is_ok(), "no setting {name}");
    }
}
