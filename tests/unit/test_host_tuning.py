"""Host tuning against a tree of plain files that stands for the node's /proc, /sys, /etc and /var."""

import errno
import json
import os
import shutil
import subprocess

import pytest
from ansible_collections.ascend_ops.vllm.plugins.module_utils._tuning import host, persist, settings
from ansible_collections.ascend_ops.vllm.plugins.module_utils._tuning import tune as tuning

CPU = "/sys/devices/system/cpu"
WANTED = [
    {"kind": "governor", "value": "performance"},
    {"kind": "sched_migration_cost_ns", "value": 50000},
    {"kind": "sysctl", "name": "vm.swappiness", "value": 0},
    {"kind": "sysctl", "name": "kernel.numa_balancing", "value": 0},
]


class Node(host.Host):
    """A host whose kernel can be told to refuse a path (an errno) or to keep another value than the one written."""

    def __init__(self, root):
        super().__init__(str(root), systemctl=self.answer)
        self.refuse, self.keeps, self.calls, self.writes = {}, {}, [], []
        self.unit_fails = False

    def answer(self, *arguments):
        self.calls.append(" ".join(arguments))
        bad = self.unit_fails and arguments[0] in ("is-active", "restart")
        return (3, "failed") if bad else (0, "")

    def set_value(self, path, value):
        if path in self.refuse:
            raise OSError(self.refuse[path], os.strerror(self.refuse[path]), path)
        self.writes.append(path)
        super().set_value(path, self.keeps.get(path, value))

    def put(self, path, text):
        target = self.root + path
        os.makedirs(os.path.dirname(target), exist_ok=True)
        with open(target, "w") as stream:
            stream.write(text + "\n")


@pytest.fixture
def node(tmp_path):
    made = Node(tmp_path)
    for cpu in range(192):
        made.put(f"{CPU}/cpu{cpu}/cpufreq/scaling_governor", "schedutil")
        made.put(f"{CPU}/cpu{cpu}/cpufreq/scaling_available_governors", "performance powersave schedutil ")
    made.put(CPU + "/cpufreq/policy0/scaling_governor", "schedutil")
    made.put("/proc/sys/vm/swappiness", "60")
    made.put("/proc/sys/kernel/numa_balancing", "1")
    made.put("/sys/kernel/debug/sched/migration_cost_ns", "500000")
    for folder in ("/run/systemd/system", "/usr/lib/systemd/system"):
        os.makedirs(made.root + folder)
    return made


def tune(node, raw=None, **options):
    wanted = settings.parse_settings(WANTED if raw is None else raw)
    return tuning.tune(node, wanted, **{"dry_run": False, **options})


def verdicts(outcome):
    return {entry["name"]: entry["verdict"] for entry in outcome.settings}


def entry(outcome, name):
    return next(entry for entry in outcome.settings if entry["name"] == name)


def snapshot(node):
    found = {}
    for folder, _dirs, names in os.walk(node.root):
        for name in names:
            path = os.path.join(folder, name)[len(node.root) :]
            found[path] = node.text(path)
    return found


def test_apply_sets_all_and_a_second_run_changes_nothing(node):
    first = tune(node)
    assert first.changed and first.compliant and not first.failures
    assert set(verdicts(first).values()) == {"changed"}
    assert entry(first, "governor") == {
        "name": "governor",
        "kind": "governor",
        "before": "schedutil",
        "wanted": "performance",
        "after": "performance",
        "verdict": "changed",
        "note": "192 CPUs",
    }
    assert all(node.value(f"{CPU}/cpu{cpu}/cpufreq/scaling_governor") == "performance" for cpu in range(192))
    assert node.value(CPU + "/cpufreq/policy0/scaling_governor") == "schedutil"
    assert node.value("/proc/sys/vm/swappiness") == "0"
    assert node.value("/proc/sys/kernel/numa_balancing") == "0"
    assert node.value("/sys/kernel/debug/sched/migration_cost_ns") == "50000"

    before, node.writes, node.calls = snapshot(node), [], []
    second = tune(node)
    assert not second.changed and set(verdicts(second).values()) == {"ok"}
    assert snapshot(node) == before and node.writes == []
    assert node.calls == ["is-active " + host.UNIT]


def test_files_for_the_next_boot(node):
    tune(node)
    assert node.text(host.DROP_IN) == persist.HEADER + "vm.swappiness = 0\nkernel.numa_balancing = 0\n"
    assert os.readlink(node.root + host.UNIT_LINK) == "../" + host.UNIT
    assert os.path.isfile(os.path.realpath(node.root + host.UNIT_LINK))
    assert f"ExecStart=/bin/sh {host.SCRIPT}\n" in node.text(host.UNIT_FILE)
    assert os.stat(node.root + host.RECORD).st_mode & 0o777 == 0o600
    assert os.stat(node.root + host.DROP_IN).st_mode & 0o777 == 0o644
    assert node.calls[-2:] == ["daemon-reload", "restart " + host.UNIT]
    assert not [path for path in snapshot(node) if path.endswith(".new")]


def run_script(node):
    """The boot script, on the tree instead of on /."""
    text = node.text(host.SCRIPT)
    for branch in ("/sys/", "/proc/"):
        text = text.replace(" " + branch, f" {node.root}{branch}")
    return subprocess.run(["/bin/sh", "-c", text], capture_output=True, text=True, check=False)


def test_boot_script_sets_again_what_a_reboot_lost(node):
    tune(node)
    for cpu in range(192):
        node.put(f"{CPU}/cpu{cpu}/cpufreq/scaling_governor", "schedutil")
    node.put("/proc/sys/vm/swappiness", "60")
    node.put("/sys/kernel/debug/sched/migration_cost_ns", "500000")
    assert not tune(node, dry_run=True).compliant
    done = run_script(node)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert tune(node, dry_run=True).compliant


def test_boot_script_passes_over_what_the_kernel_lacks_and_makes_nothing_up(node):
    tune(node)
    shutil.rmtree(node.root + "/sys/devices")
    os.unlink(node.root + "/proc/sys/kernel/numa_balancing")
    before = snapshot(node)
    done = run_script(node)
    assert (done.returncode, done.stderr) == (0, "")
    assert snapshot(node) == before


def test_boot_script_fails_when_a_value_is_refused(node):
    tune(node)
    path = node.root + "/proc/sys/vm/swappiness"
    os.unlink(path)
    os.symlink("/proc/self/cmdline", path)  # can be read; a write to it is refused, to root too
    done = run_script(node)
    assert done.returncode == 1 and done.stderr


@pytest.mark.skipif(not shutil.which("shellcheck"), reason="shellcheck is not installed")
def test_boot_script_is_clean(node):
    tune(node)
    subprocess.run(["shellcheck", node.root + host.SCRIPT], check=True)


def test_values_are_quoted_in_the_boot_script():
    wanted = settings.parse_settings([{"kind": "sysctl", "name": "kernel.core_pattern", "value": "|/bin/x %p $(id)"}])
    assert "put '|/bin/x %p $(id)' /proc/sys/kernel/core_pattern" in persist.wanted_files(wanted, [])[host.SCRIPT]


def test_dry_run_writes_nothing_and_says_what_would_change(node):
    before = snapshot(node)
    outcome = tune(node, dry_run=True)
    assert outcome.changed and not outcome.compliant
    assert set(verdicts(outcome).values()) == {"differs"}
    assert snapshot(node) == before and not os.path.exists(node.root + "/etc")
    assert outcome.diff[0]["before"] == (
        "governor = schedutil\nsched_migration_cost_ns = 500000\nvm.swappiness = 60\nkernel.numa_balancing = 1\n"
    )
    assert outcome.diff[0]["after"] == (
        "governor = performance\nsched_migration_cost_ns = 50000\nvm.swappiness = 0\nkernel.numa_balancing = 0\n"
    )
    assert {entry["after_header"] for entry in outcome.diff[1:]} == set(persist.OWN_FILES)


def test_dry_run_predicts_what_the_run_then_does(node):
    predicted = tune(node, dry_run=True)
    done = tune(node)
    assert predicted.diff == done.diff
    assert [entry["verdict"] for entry in done.files] == ["changed"] * 4


def test_bare_vm_reports_and_does_not_fail(node):
    shutil.rmtree(node.root + "/sys")
    os.makedirs(node.root + "/sys/kernel/debug")
    os.unlink(node.root + "/proc/sys/kernel/numa_balancing")
    outcome = tune(node)
    assert not outcome.failures and outcome.compliant
    assert verdicts(outcome) == {
        "governor": "unavailable",
        "sched_migration_cost_ns": "unavailable",
        "vm.swappiness": "changed",
        "kernel.numa_balancing": "unavailable",
    }
    assert "not available on this node: no CPU has cpufreq" in entry(outcome, "governor")["note"]
    assert "debugfs is not mounted" in entry(outcome, "sched_migration_cost_ns")["note"]
    assert "no kernel.numa_balancing" in entry(outcome, "kernel.numa_balancing")["note"]
    assert node.text(host.DROP_IN) == persist.HEADER + "vm.swappiness = 0\n"
    assert not tune(node).changed


def test_old_kernel_has_the_migration_cost_as_sysctl(node):
    shutil.rmtree(node.root + "/sys/kernel/debug/sched")
    node.put("/proc/sys/kernel/sched_migration_cost_ns", "500000")
    outcome = tune(node)
    assert entry(outcome, "sched_migration_cost_ns")["verdict"] == "changed"
    assert node.value("/proc/sys/kernel/sched_migration_cost_ns") == "50000"


def test_governor_that_does_not_exist_stops_before_anything_is_changed(node):
    before = snapshot(node)
    with pytest.raises(host.TuningError) as caught:
        tune(node, [{"kind": "sysctl", "name": "vm.swappiness", "value": 0}, {"kind": "governor", "value": "turbo"}])
    assert str(caught.value) == (
        "governor 'turbo' does not exist on cpu0, cpu1, cpu2, cpu3 and 188 more: available there: performance "
        "powersave schedutil. Choose one of these, load the kernel module cpufreq_turbo if the kernel has it, or omit "
        "the governor. Nothing was changed"
    )
    assert snapshot(node) == before


def test_verify_reports_a_governor_that_does_not_exist(node):
    outcome = tune(node, [{"kind": "governor", "value": "turbo"}], dry_run=True, strict=False)
    assert entry(outcome, "governor")["verdict"] == "differs"
    assert "available there: performance" in entry(outcome, "governor")["note"]


def test_kernel_that_does_not_list_its_governors(node):
    for cpu in range(192):
        os.unlink(f"{node.root}{CPU}/cpu{cpu}/cpufreq/scaling_available_governors")
    outcome = tune(node)
    assert entry(outcome, "governor")["verdict"] == "changed"
    assert "does not list its governors" in entry(outcome, "governor")["note"]


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (errno.EBUSY, "another tool or the CPU driver controls it"),
        (errno.EINVAL, "the kernel does not accept this value"),
        (errno.EROFS, "not in a container"),
        (errno.EPERM, "become: true"),
    ],
)
def test_refused_write_names_the_file_and_the_reason_and_persists_nothing(node, number, text):
    path = f"{CPU}/cpu17/cpufreq/scaling_governor"
    node.refuse[path] = number
    outcome = tune(node)
    assert outcome.changed
    assert verdicts(outcome)["governor"] == "failed" and verdicts(outcome)["vm.swappiness"] == "changed"
    assert outcome.failures[0].startswith(f"governor: {path}: performance was refused: {os.strerror(number)}")
    assert text in outcome.failures[0]
    assert entry(outcome, "governor")["after"] == "performance (191 CPUs), schedutil (1 CPU)"
    assert not os.path.exists(node.root + "/etc")
    # and what was written can be put back
    assert not tune(node, []).failures
    assert node.value(f"{CPU}/cpu5/cpufreq/scaling_governor") == "schedutil"
    assert node.value("/proc/sys/vm/swappiness") == "60"


def test_refused_migration_cost_is_reported_only(node):
    node.refuse["/sys/kernel/debug/sched/migration_cost_ns"] = errno.EPERM
    outcome = tune(node)
    assert not outcome.failures
    assert entry(outcome, "sched_migration_cost_ns")["verdict"] == "unavailable"
    assert "kernel lockdown" in entry(outcome, "sched_migration_cost_ns")["note"]
    assert not tune(node).changed


def test_value_that_does_not_stick_is_a_failure(node):
    node.keeps["/proc/sys/vm/swappiness"] = "1"
    outcome = tune(node)
    assert outcome.failures[0] == "vm.swappiness: /proc/sys/vm/swappiness: 0 was written, but it reads '1'"


def test_offline_cpu_is_passed_over(node):
    path = f"{node.root}{CPU}/cpu3/cpufreq/scaling_governor"
    os.unlink(path)
    os.mkdir(path)  # reading it fails, as the kernel's file of an offline CPU does
    outcome = tune(node)
    assert not outcome.failures
    assert entry(outcome, "governor")["note"] == "191 CPUs; skipped, offline: cpu3"


def test_record_keeps_the_first_values(node):
    tune(node)
    node.put("/proc/sys/vm/swappiness", "30")  # somebody, or a reboot without the unit
    tune(node, [*WANTED[:2], {"kind": "sysctl", "name": "vm.swappiness", "value": 10}, WANTED[3]])
    values = json.loads(node.text(host.RECORD))["values"]
    assert values["/proc/sys/vm/swappiness"] == {
        "kind": "sysctl",
        "name": "vm.swappiness",
        "before": "60",
        "set": "10",
    }
    assert len(values) == 195


def test_put_back_leaves_no_trace(node):
    before = snapshot(node)
    tune(node)
    assert snapshot(node) != before
    outcome = tune(node, [])
    assert outcome.changed and set(verdicts(outcome).values()) == {"changed"}
    assert snapshot(node) == before
    assert not os.path.exists(node.root + "/var/lib/ascend-vllm") and not os.path.exists(node.root + "/etc/ascend-vllm")
    assert node.calls[-2:] == ["stop " + host.UNIT, "daemon-reload"]
    again = tune(node, [])
    assert not again.changed and again.settings == [] and again.files == []


def test_put_back_leaves_other_files_of_the_folders(node):
    tune(node)
    node.put("/etc/ascend-vllm/service.env", "x")
    tune(node, [])
    assert node.text("/etc/ascend-vllm/service.env") == "x\n"


def test_put_back_leaves_alone_what_somebody_changed_since(node):
    tune(node)
    node.put("/proc/sys/vm/swappiness", "42")
    outcome = tune(node, [])
    assert node.value("/proc/sys/vm/swappiness") == "42"
    assert entry(outcome, "vm.swappiness")["verdict"] == "kept"
    assert entry(outcome, "vm.swappiness")["note"] == (
        "not restored, since it was changed by another tool or user: /proc/sys/vm/swappiness reads 42"
    )
    assert node.value("/proc/sys/kernel/numa_balancing") == "1"


def test_put_back_that_is_refused_keeps_record_and_files(node):
    tune(node)
    node.refuse["/proc/sys/vm/swappiness"] = errno.EROFS
    assert tune(node, []).failures
    assert node.text(host.RECORD) and node.text(host.DROP_IN)
    node.refuse.clear()
    assert not tune(node, []).failures
    assert node.value("/proc/sys/vm/swappiness") == "60" and node.text(host.RECORD) is None


def test_setting_taken_out_is_put_back(node):
    tune(node)
    outcome = tune(node, [{"kind": "sysctl", "name": "kernel.numa_balancing", "value": 0}])
    assert verdicts(outcome)["vm.swappiness"] == "changed"
    assert node.value("/proc/sys/vm/swappiness") == "60"
    assert node.value("/proc/sys/kernel/numa_balancing") == "0"
    assert "swappiness" not in node.text(host.DROP_IN) + node.text(host.SCRIPT) + node.text(host.RECORD)


def test_broken_record_is_an_error_that_says_what_to_do(node):
    node.put(host.RECORD, "{")
    before = snapshot(node)
    with pytest.raises(host.TuningError, match="Repair it, or move it away"):
        tune(node)
    assert snapshot(node) == before


def test_unit_that_fails_is_a_failure_and_stays_one(node):
    node.unit_fails = True
    for _run in range(2):
        outcome = tune(node)
        assert outcome.failures and "would not survive a reboot" in outcome.failures[0]
    assert not tune(node, dry_run=True).compliant
    node.unit_fails = False
    assert tune(node).compliant


def test_without_a_running_systemd_the_unit_is_there_for_the_next_boot(node):
    shutil.rmtree(node.root + "/run/systemd")
    outcome = tune(node)
    assert not outcome.failures and node.calls == []
    assert os.path.islink(node.root + host.UNIT_LINK)
    assert outcome.notes == [f"systemd is not running: {host.UNIT} takes effect at the next boot"]


def test_without_systemd_only_the_drop_in_is_written(node):
    shutil.rmtree(node.root + "/usr/lib/systemd")
    shutil.rmtree(node.root + "/run/systemd")
    outcome = tune(node)
    assert [entry["path"] for entry in outcome.files] == [host.DROP_IN]
    assert outcome.notes == ["no systemd on this node: only the sysctl values survive a reboot"]


def test_unwritable_folder_is_a_failure_in_words(node, monkeypatch):
    def refuse(path, *_others):
        if path == host.DROP_IN:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), path)

    monkeypatch.setattr(node, "replace", refuse)
    outcome = tune(node)
    assert outcome.failures[0].startswith(host.DROP_IN + " could not be written: Read-only file system")


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ({"kind": "sysctl", "value": 0}, "needs a name"),
        ({"kind": "sysctl", "name": "swappiness", "value": 0}, "'swappiness' is not a sysctl name"),
        ({"kind": "sysctl", "name": "vm.../../etc/passwd", "value": 0}, "is not a sysctl name"),
        ({"kind": "sysctl", "name": "vm.x;y", "value": 0}, "is not a sysctl name"),
        ({"kind": "governor", "value": "perf; rm"}, "is not the name of a governor"),
        ({"kind": "sched_migration_cost_ns", "value": "50us"}, "not a whole number"),
    ],
)
def test_wrong_input(raw, text):
    with pytest.raises(host.TuningError, match=text):
        settings.parse_settings([raw])


def test_setting_given_twice_is_an_error_and_an_empty_one_is_left_out():
    with pytest.raises(host.TuningError, match=r"vm\.swappiness is listed twice"):
        settings.parse_settings([WANTED[2], WANTED[2]])
    assert settings.parse_settings([{"kind": "governor", "value": ""}, {"kind": "governor", "value": None}]) == []


def test_sysctl_path_takes_a_slash_for_a_dot():
    assert settings.sysctl_path("net.ipv4.conf.eth0/100.rp_filter") == "/proc/sys/net/ipv4/conf/eth0.100/rp_filter"


def test_report_lines(node):
    node.put(f"{CPU}/cpu0/cpufreq/scaling_governor", "performance")
    lines = tuning.report_lines(tune(node, dry_run=True))
    assert lines[0] == "governor: differs, performance (1 CPU), schedutil (191 CPUs) (wanted performance), 192 CPUs"
    lines = tuning.report_lines(tune(node))
    assert lines[2] == "vm.swappiness: changed, 0 (was 60)"
