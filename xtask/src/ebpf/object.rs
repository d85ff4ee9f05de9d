//! The linked object without DWARF: types and lines that the kernel reads are BTF, which stays.

use anyhow::Result;
use object::build::elf::{Builder, SectionData};
use object::elf::{SHT_STRTAB, STB_LOCAL, STT_FUNC};

/// The object without its `.debug` sections, and what refers to them alone.
///
/// # Errors
/// When it is no ELF object.
pub fn without_debug_info(object: &[u8]) -> Result<Vec<u8>> {
    let mut builder = Builder::read(object)?;
    for section in &mut builder.sections {
        let name = section.name.to_vec();
        section.delete = name.starts_with(b".debug") || name.starts_with(b".rel.debug");
    }
    builder.delete_orphans();
    name_locals(&mut builder);
    // LLVM keeps the sections' names among the symbols'; here they have a section of their own.
    let names = builder.sections.add();
    names.name = b".shstrtab"[..].into();
    names.sh_type = SHT_STRTAB;
    names.sh_addralign = 1;
    names.data = SectionData::SectionString;
    let mut bytes = Vec::new();
    builder.write(&mut bytes)?;
    Ok(bytes)
}

/// Names local functions by number: their own names hold a hash of the folder that they were built in.
fn name_locals(builder: &mut Builder<'_>) {
    let locals = builder.symbols.iter_mut();
    let locals =
        locals.filter(|symbol| symbol.st_bind() == STB_LOCAL && symbol.st_type() == STT_FUNC);
    for (number, symbol) in locals.enumerate() {
        symbol.name = format!("local_{number}").into_bytes().into();
    }
}
