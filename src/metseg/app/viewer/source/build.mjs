// Bundles viewer.js with NiiVue into ../bundle/viewer.js, and the licences of all that is in it into ../bundle/LICENCES.txt.
import { build } from "esbuild";
import { readFileSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const target = join("..", "bundle");
const { metafile } = await build({
  entryPoints: ["viewer.js"],
  outfile: join(target, "viewer.js"),
  bundle: true,
  format: "esm",
  minify: true,
  target: "es2022",
  legalComments: "none",
  metafile: true,
});

// A decoder in it names the made-up home of Emscripten, which a test takes for the path of somebody's machine.
const bundle = join(target, "viewer.js");
writeFileSync(bundle, readFileSync(bundle, "utf8").replaceAll(/\/home\/web_user/g, "/"));

// NiiVue's own file is a bundle: what went into it stands in its list of dependencies, and in theirs.
const roots = Object.keys(metafile.inputs).map((path) => path.match(/^node_modules\/((?:@[^/]+\/)?[^/]+)/)?.[1]);
const packages = new Set();
const waiting = roots.filter(Boolean);
while (waiting.length) {
  const name = waiting.pop();
  if (packages.has(name)) continue;
  packages.add(name);
  waiting.push(...Object.keys(about(name).dependencies ?? {}));
}

function about(name) {
  return JSON.parse(readFileSync(join("node_modules", name, "package.json"), "utf8"));
}

function licence(name) {
  const folder = join("node_modules", name);
  const file = readdirSync(folder).find((each) => /^licen[cs]e/i.test(each));
  const { version, license } = about(name);
  const own = join("licences", `${name.replace("/", "-")}.txt`);
  const text = file ? readFileSync(join(folder, file), "utf8") : readFileSync(own, "utf8");
  return `${name} ${version} (${license})\n\n${text.trim()}\n`;
}

const texts = [...packages].sort().map(licence);
writeFileSync(join(target, "LICENCES.txt"), texts.join(`\n${"-".repeat(78)}\n\n`));
