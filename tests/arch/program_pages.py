# SPDX-License-Identifier: Apache-2.0
"""The manual page of every installed program is true: it has the commands, options, environment variables and exit
codes that the program has, and no others, with the bounds and the defaults that the program knows. The page of the
broker's configuration file has the keys of its schema. Used by check_man_pages.py.

What a program has is what its --help lists; bounds are asked for by values beyond them."""
import functools
import os
import re
import subprocess
import tempfile

NUMBERS = {"N", "TIME", "SIZE", "BYTES"}  # arguments of --help that may be numbers
BEYOND = str(2**64 - 1)
UNITS = {"": 1, "ms": 1, "s": 1000, "m": 60000, "h": 3600000, "d": 86400000}  # of times, in ms
SIZES = {"": 1, "k": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
# Variables that are no option's, and who reads them.
OTHER_VARIABLES = {"sensebus": {"SENSEBUS_URL", "NO_COLOR", "TERM"}, "sensebus-broker": {"NOTIFY_SOCKET"},
                   "sensebus-agent": {"NOTIFY_SOCKET", "TGT_IPC_SOCKET"}}
FOLDERS = ("agent", "broker", "clients/c", "clients/cli", "proto", "runtime")
HELP_OPTION = ("help", "h", None)  # printed by all, and on each page


# ---------------------------------------------------------------------------------------------- pages


def plain(text):
    """Text of a macro line as it is read: without escapes."""
    for escape, means in (("\\-", "-"), ("\\&", ""), ("\\ ", " "), ("\\e", "\\")):
        text = text.replace(escape, means)
    return text


class Item:
    """An entry of a list: its head, and the text below it."""

    def __init__(self, head):
        self.head = head
        self.text = []

    def default(self):
        match = re.search(r"^Default: (.*?)\.$", "\n".join(self.text), re.M)
        return match and match.group(1)

    def bounds(self, units):
        text = "\n".join(self.text)
        match = re.search(r"^From (\w+) to (\w+)\.$", text, re.M)
        if match:
            return number(match.group(1), units), number(match.group(2), units)
        match = re.search(r"^At least (\w+)\.$", text, re.M)
        return (number(match.group(1), units), None) if match else (0, None)

    def option(self):
        """(name, letter, argument) of ".It Fl o , Fl \\-output Ar FORMAT"."""
        match = re.fullmatch(r"Fl (?:(\w) , Fl )?-(\S+)(?: Ar (.+))?", self.head)
        return (match.group(2), match.group(1), match.group(3)) if match else None


class Section:
    def __init__(self, title, parent):
        self.title, self.parent = title, parent
        self.items, self.lines, self.usage = [], [], []
        self.also = []


def read_page(path):
    """Sections of a page, subsections behind the section that they are of."""
    sections = [Section("", None)]
    with open(path, encoding="utf-8") as file:
        lines = [plain(line.rstrip("\n")) for line in file]
    parent = None
    for line in lines:
        macro, _, rest = line.partition(" ")
        section = sections[-1]
        if macro in (".Sh", ".Ss"):
            parent = None if macro == ".Sh" else parent
            sections.append(Section(rest, parent))
            parent = rest if macro == ".Sh" else parent
        elif macro == ".It":
            section.items.append(Item(rest))
        elif macro == ".El":
            section.items.append(Item(""))  # text behind the list is no item's
        elif macro == ".Dl":
            section.usage.append(" ".join(rest.split()))
        elif macro == ".Sx":
            section.also += [title.strip() for title in rest.rstrip(" .").split(" , ")]
        elif section.items:
            section.items[-1].text.append(line)
        section.lines.append(line)
    return sections


def number(text, units):
    match = re.fullmatch(r"(\d+)([a-zA-Z]*)", text)
    return int(match.group(1)) * units[match.group(2)] if match and match.group(2) in units else None


def options_of(sections):
    return [(item.option(), item) for section in sections for item in section.items if item.option()]


def exit_codes(sections):
    return {int(item.head) for s in sections if s.title == "EXIT STATUS" for item in s.items if item.head.isdigit()}


def variables(sections):
    return {item.head[3:] for s in sections if s.title == "ENVIRONMENT" for item in s.items if item.head[:3] == "Ev "}


# ---------------------------------------------------------------------------------------------- programs


class Help:
    """What --help says."""

    def __init__(self, text):
        head, _, tail = text.partition("\nOptions:\n")
        # Each begins below the first; a line that is wrapped begins farther to the right.
        self.usages = [" ".join(u.split()) for u in re.split(r"\n {7}(?=\S)", head.split("\n\n")[0][len("usage: "):])]
        codes = text.partition("Exit codes: ")[2].partition("\n\n")[0]
        self.codes = {int(code) for code in re.findall(r"(?:^|,\s)(\d+) ", codes)}
        self.commands = re.findall(r"^  ([a-z-]+) +\S", head.partition("Commands:\n")[2].partition("\n\n")[0], re.M)
        self.options, self.text, self.variables = [], {}, set()
        for line in tail.split("\n"):
            beside = line[31:32] in (" ", "")  # else the text is on the next line
            match = re.fullmatch(r"  (?:-(\w), |    )--(\S+)(?: (\S+))?", line[:32].rstrip() if beside else line)
            if match:
                self.options.append((match.group(2), match.group(1), match.group(3)))
                self.text[match.group(2)] = line[32:] if beside else ""
                continue
            variable = re.fullmatch(r" +\[environment: (\w+)\]", line)
            if variable:
                self.variables.add(variable.group(1))
            elif self.options and line.strip():
                self.text[self.options[-1][0]] += " " + line.strip()

    def default(self, name):
        """The last parenthesis when it is one word."""
        match = re.search(r"\((?:default )?(\S+)\)$", self.text[name].strip())
        return match and match.group(1)


def run(*command):
    environment = {"PATH": os.environ.get("PATH", ""), "LC_ALL": "C.UTF-8"}
    for name in ("ASAN_OPTIONS", "UBSAN_OPTIONS", "LSAN_OPTIONS", "TSAN_OPTIONS"):
        if name in os.environ:
            environment[name] = os.environ[name]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", check=False, env=environment, timeout=120)
    return done.returncode, done.stdout, done.stderr


@functools.cache
def help_of(*command):
    code, out, err = run(*command, "--help")
    if code != 0 or not out.startswith("usage: "):
        raise SystemExit(f"{' '.join(command)} --help: exit status {code}: {err or out}")
    return Help(out)


@functools.cache
def bounds_of(command, name, unit):
    """What the program says to values beyond its bounds. With --help behind, it does nothing else."""
    for value in (BEYOND, "0"):
        code, _, err = run(*command, f"--{name}", value + unit, "--help")
        match = re.search(r"out of range \((\d+) to (\d+)", err)
        if match:
            return int(match.group(1)), int(match.group(2)) if match.group(2) != BEYOND else None
        if code != 0:
            raise SystemExit(f"{' '.join(command)} --{name} {value}{unit}: exit status {code}: {err}")
    return 0, None


# ---------------------------------------------------------------------------------------------- comparing


def differences(what, shown, real):
    return ([f"{what}: {x} is not on the page" for x in sorted(real - shown, key=str)] +
            [f"{what}: {x} is on the page alone" for x in sorted(shown - real, key=str)])


def compare_options(command, entries, told):
    """Options of a page and of --help: names, letters, arguments, defaults, bounds."""
    what = " ".join([os.path.basename(command[0]), *command[1:]])
    real = set(told.options)
    problems = differences(what, {option for option, _ in entries} | {HELP_OPTION}, real)
    for option, item in entries:
        if option not in real or option == HELP_OPTION:
            continue
        name, _, argument = option
        default = told.default(name)
        if default and default != item.default():
            problems.append(f"{what}: --{name}: the default is {default}, the page says {item.default()}")
        if argument in NUMBERS and not getattr(item, "asked", False):
            item.asked = True
            real_bounds = bounds_of(command, name, "ms" if argument == "TIME" else "")
            shown = item.bounds(UNITS if argument == "TIME" else SIZES)
            if shown != real_bounds:
                problems.append(f"{what}: --{name}: the bounds are {real_bounds}, the page says {shown}")
    return problems


def compare_command(program, verb, section, shared):
    told = help_of(program, verb)
    problems = []
    if section.usage != told.usages:
        problems.append(f"sensebus {verb}: the usage is {told.usages}, the page says {section.usage}")
    entries = options_of([section] + [shared[title] for title in section.also if title in shared])
    own = {item.option()[0] for item in section.items if item.option()}
    entries = [(o, i) for o, i in entries if o[0] not in own or i in section.items]  # its own wins
    return problems + compare_options((program, verb), entries, told)


def compare_commands(program, sections):
    """`sensebus`: each command has a subsection."""
    commands = {s.title: s for s in sections if s.parent == "COMMANDS"}
    shared = {s.title: s for s in sections if s.parent == "DESCRIPTION"}
    told = help_of(program)
    problems = differences("command", set(commands), set(told.commands))
    for verb, section in commands.items():
        if verb == "store":  # another program, with a page of its own
            if not any("sensebus-store 8" in line for line in section.lines):
                problems.append("sensebus store: sensebus-store(8) is not named")
        elif verb in told.commands:
            problems += compare_command(program, verb, section, shared)
    return problems


def words_of_usage(told):
    """What stands behind the name of the program."""
    words = [usage.removeprefix("sensebus store").removeprefix("sensebus-agent").split() for usage in told.usages]
    return {w[0] for w in words if w and re.fullmatch(r"[a-z]+", w[0])}


def compare_program(program, page):
    name = os.path.basename(program)
    sections, told = read_page(page), help_of(program)
    if name == "sensebus":
        problems = compare_commands(program, sections)
        told_variables = set().union(*(help_of(program, c).variables for c in told.commands if c != "store"))
    else:
        problems = compare_options((program,), options_of(sections), told)
        told_variables = told.variables
        synopsis = [line for s in sections if s.title == "SYNOPSIS" for line in s.lines]
        problems += differences("synopsis", {line[4:] for line in synopsis if line.startswith(".Cm ")},
                                words_of_usage(told))
    problems += differences("environment", variables(sections), told_variables | OTHER_VARIABLES.get(name, set()))
    problems += differences("exit code", exit_codes(sections), told.codes)
    if "verbs" in told.text:
        shown = {v for s in sections if s.title == "Verbs" for item in s.items for v in item.head[3:].split(" , ") if v}
        problems += differences("verb", shown, set(re.findall(r"^(\w+)", run(program, "--verbs")[1], re.M)))
    return [f"{os.path.basename(page)}: {p}" for p in problems]


# ---------------------------------------------------------------------------------------------- the source


def read(*path):
    with open(os.path.join(*path), encoding="utf-8") as file:
        return file.read()


def installed(root):
    """(program, its CMakeLists.txt) of all programs that are installed."""
    found = []
    for folder, folders, files in os.walk(root):
        folders[:] = [f for f in folders if f not in ("build", ".git")]
        if "CMakeLists.txt" in files:
            text = read(folder, "CMakeLists.txt")
            found += [(name, folder, text) for name in re.findall(r"install\(TARGETS (sensebus[a-z-]*)\b(?!_)", text)]
    return found


def find_page(folder, name):
    for base in (folder, os.path.join(folder, "cli")):
        for section in "18":
            path = os.path.join(base, "man", f"{name}.{section}")
            if os.path.exists(path):
                return path
    return None


def check_installed(root):
    """Every installed program has a page that is installed with it."""
    problems, pages = [], {}
    for name, folder, text in installed(root):
        pages[name] = find_page(folder, name)
        if not pages[name]:
            problems.append(f"{name}: no page")
        elif os.path.basename(pages[name]) not in text:
            problems.append(f"{name}: its page is not installed")
    return problems, pages


def check_exit_header(root, pages):
    """The codes of clients/cli/exit.h are those of the page."""
    text = read(root, "clients", "cli", "exit.h")
    codes = {int(c) for c in re.findall(r"^    EXIT_\w+ = (\d+),", text, re.M)}
    return differences("sensebus.1: exit.h", exit_codes(read_page(pages["sensebus"])), codes)


def check_variables(root, pages):
    """Each variable that the source reads is on a page."""
    known = set().union(*(variables(read_page(page)) for page in pages.values()))
    problems = []
    for top in FOLDERS:
        for folder, _, files in os.walk(os.path.join(root, top)):
            for file in files:
                if file.endswith(".c") and "examples" not in folder:
                    for name in re.findall(r'getenv\("(\w+)"\)', read(folder, file)):
                        if name not in known:
                            problems.append(f"{top}: {file} reads {name}, which is on no page")
    return problems


def schema_keys(text):
    """The keys of broker/config.c: "tls.key", "principals[].name"."""
    groups = {}
    for name, body in re.findall(r"static const cyaml_schema_field_t (\w+)_fields\[\] = \{(.*?)\n\};", text, re.S):
        groups[name] = re.findall(r'(TEXT|REQUIRED|LIST|GROUP|CYAML_FIELD_SEQUENCE_COUNT)\("(\w+)"', body)

    def flat(group, prefix):
        keys = set()
        for kind, key in groups[group]:
            if kind != "GROUP":
                keys.add(prefix + key)
            if kind == "GROUP":
                keys |= flat(key, f"{prefix}{key}.")
            elif kind.startswith("CYAML"):
                keys |= flat(key.rstrip("s"), f"{prefix}{key}[].")
        return keys

    return flat("document", "")


def configuration_page(root):
    return os.path.join(root, "broker", "man", "sensebus-broker.yaml.5")


def check_configuration(root):
    sections = read_page(configuration_page(root))
    shown = {key.strip() for s in sections for item in s.items if item.head[:3] == "Cm "
             for key in item.head[3:].split(" , ")}
    return differences("sensebus-broker.yaml.5", shown, schema_keys(read(root, "broker", "config.c")))


def check_programs(programs, pages):
    problems = []
    for program in programs:
        name = os.path.basename(program)
        problems += compare_program(program, pages[name]) if name in pages else [f"{name}: has no page"]
    return problems


# ---------------------------------------------------------------------------------------------- itself

# program, what is changed in its page, and a part of what must be said then.
MUTATIONS = (
    ("sensebus-store", ".It Fl d , Fl \\-data Ar", ".It Fl \\-data Ar", "'DIRECTORY') is not on the page"),
    ("sensebus-store", ".It Fl o , Fl \\-output Ar text|json\n", "", "'text|json') is not on the page"),
    ("sensebus-store", ".It Fl V ,", ".It Fl \\-fix\nit\n.It Fl V ,", "('fix', None, None) is on the page alone"),
    ("sensebus-store", ".It 8\n", ".It 9\n", "exit code: 9 is on the page alone"),
    ("sensebus-store", ".Cm info\n.Op", ".Op", "synopsis: info is not on the page"),
    ("sensebus-store", ".It Ev SENSEBUS_DATA", ".It Ev SENSEBUS_DATE", "environment: SENSEBUS_DATA is not on the page"),
    ("sensebus-store", "Default: text.", "Default: json.", "the default is text, the page says json"),
    ("sensebus", ".Ss ioc\n", ".Ss ioctl\n", "command: ioc is not on the page"),
    ("sensebus", ".It Fl \\-peek\n", "", "sensebus tm-event: ('peek', None, None) is not on the page"),
    ("sensebus", "to 36500.", "to 3650.", "the bounds are (1, 36500), the page says (1, 3650)"),
    ("sensebus", "[\\-\\-peek]", "", "sensebus tm-event: the usage is"),
)


def self_test(programs, pages):
    """A check that cannot fail is none: each mutation of a page must be found."""
    problems = []
    for name, what, becomes, wanted in MUTATIONS:
        for program in (p for p in programs if os.path.basename(p) == name):
            text = read(pages[name])
            with tempfile.NamedTemporaryFile("w", suffix=os.path.basename(pages[name]), encoding="utf-8") as page:
                page.write(text.replace(what, becomes))
                page.flush()
                found = compare_program(program, page.name)
            if what not in text or not any(wanted in problem for problem in found):
                problems.append(f"self-test: {name}: nothing like '{wanted}' in {found[:9]}")
    return problems


def check(root, programs):
    """Problems, and the pages by program."""
    problems, pages = check_installed(root)
    pages = {name: page for name, page in pages.items() if page}
    problems += check_exit_header(root, pages) + check_variables(root, pages) + check_configuration(root)
    missing = [program for program in programs if not os.access(program, os.X_OK)]
    if missing:
        return problems + [f"{program}: is not built" for program in missing], pages
    return problems + check_programs(programs, pages) + self_test(programs, pages), pages
