//! `vmm-mini`: runs a virtual machine from the command line.
fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().collect();
    if args[1] == "probe" {
        let t = std::time::Instant::now();
        let r = vmm_mini::kvm::probe();
        eprintln!("{:?}", t.elapsed());
        r?;
        return Ok(());
    }
    let mut config = vmm_mini::Config::new(&args[1]);
    config.initrd = args.get(2).filter(|a| !a.is_empty()).map(Into::into);
    config.cmdline = args.get(3).cloned().unwrap_or_default();
    config.vcpus = args.get(4).map_or(1, |n| n.parse().unwrap());
    config.serial = Some(Box::new(std::io::stdout()));
    let t = std::time::Instant::now();
    let vm = vmm_mini::Vm::new(config)?;
    eprintln!("built {:?}", t.elapsed());
    vm.run();
    let e = vm.wait_timeout(std::time::Duration::from_secs(15));
    eprintln!("{e:?} {:?}", t.elapsed());
    drop(vm);
    eprintln!("dropped {:?}", t.elapsed());
    Ok(())
}
