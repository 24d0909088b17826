// The viewer: a component of Streamlit (v2) around NiiVue. Python says what to show (viewer/component.py lists the
// fields of `data`); the viewer tells which lesion was clicked, and whether it can show anything at all.
import { MULTIPLANAR_TYPE, NVImage, Niivue, SHOW_RENDER, SLICE_TYPE } from "@niivue/niivue";

const PLANES = {
  all: SLICE_TYPE.MULTIPLANAR,
  axial: SLICE_TYPE.AXIAL,
  coronal: SLICE_TYPE.CORONAL,
  sagittal: SLICE_TYPE.SAGITTAL,
};
const SOFTWARE = /swiftshader|llvmpipe|softpipe|software|basic render/i;
const FAINT = 150; // of 255: lesions that are not selected, while one is
const LEAST_PROBABILITY = 0.05;
const viewers = new WeakMap();

export default function (component) {
  const { parentElement } = component;
  let viewer = viewers.get(parentElement);
  if (!viewer) {
    viewer = new Viewer(parentElement, component);
    viewers.set(parentElement, viewer);
  }
  viewer.tell = component;
  viewer.show(component.data);
  return () => {
    viewers.delete(parentElement);
    viewer.end();
  };
}

class Viewer {
  constructor(parent, tell) {
    this.tell = tell;
    this.box = document.createElement("div");
    this.box.className = "metseg-viewer";
    this.box.style.cssText = "position:relative;width:100%;background:#000;border-radius:6px;overflow:hidden";
    this.canvas = document.createElement("canvas");
    this.canvas.style.cssText = "display:block;width:100%;height:100%;outline-offset:-2px";
    this.canvas.tabIndex = 0;
    this.box.append(this.canvas);
    parent.append(this.box);
    this.loaded = {};
    this.work = Promise.resolve();
    this.canvas.addEventListener("webglcontextlost", () => this.fail("lost"));
    this.canvas.addEventListener("pointerup", () => setTimeout(() => this.picked(), 60));
    this.canvas.addEventListener("keydown", (event) => this.keyed(event));
  }

  // What comes while a volume still loads waits for it; only the latest is then drawn.
  show(data) {
    this.wanted = data;
    this.work = this.work.then(() => this.wanted === data && this.draw(data)).catch((error) => this.fail(String(error)));
  }

  async draw(data) {
    this.box.style.height = `${data.height}px`;
    this.canvas.setAttribute("role", "img");
    this.canvas.setAttribute("aria-label", data.title);
    if (!this.nv && !(await this.start())) return;
    await this.load(data);
    const nv = this.nv;
    nv.setRadiologicalConvention(true);
    nv.setSliceType(PLANES[data.plane] ?? PLANES.all);
    const solid = data.render === "on" || (data.render === "auto" && !this.software);
    nv.opts.multiplanarShowRender = solid ? SHOW_RENDER.ALWAYS : SHOW_RENDER.NEVER;
    if (data.window) [nv.volumes[0].cal_min, nv.volumes[0].cal_max] = data.window;
    this.paint(data);
    nv.updateGLVolume();
    if (data.jump && data.jump.count !== this.jumped) {
      this.jumped = data.jump.count;
      nv.scene.crosshairPos = nv.mm2frac(data.jump.mm);
      this.last = data.selected;
      this.box.dataset.mm = data.jump.mm.map((each) => each.toFixed(1)).join(" ");
      nv.drawScene();
    }
    this.box.dataset.state = "ready";
    this.box.dataset.shown = this.order.join(" ");
  }

  async start() {
    const gl = document.createElement("canvas").getContext("webgl2");
    if (!gl) return this.fail("no-webgl2");
    const info = gl.getExtension("WEBGL_debug_renderer_info");
    this.software = SOFTWARE.test(info ? gl.getParameter(info.UNMASKED_RENDERER_WEBGL) : "");
    gl.getExtension("WEBGL_lose_context")?.loseContext();
    const nv = new Niivue({
      backColor: [0, 0, 0, 1],
      crosshairColor: [1, 1, 1, 0.6],
      crosshairWidth: 1,
      crosshairGap: 8,
      dragAndDropEnabled: false,
      isCornerOrientationText: false,
      isRadiologicalConvention: true,
      loadingText: "",
      logLevel: "error",
      multiplanarLayout: MULTIPLANAR_TYPE.AUTO,
      isSliceMM: true,
      show3Dcrosshair: true,
      fontMinPx: 16,
      textHeight: 0.06,
    });
    nv.onLocationChange = (where) => this.moved(where);
    await nv.attachToCanvas(this.canvas, false);
    this.nv = nv;
    return true;
  }

  // Volumes that are on the page already are kept; the image is always the first.
  async load(data) {
    const wanted = [data.image, data.lesions, data.probability].filter(Boolean);
    const roles = ["image", data.lesions && "lesions", data.probability && "probability"].filter(Boolean);
    if (JSON.stringify(wanted) === JSON.stringify(this.urls)) return;
    this.box.dataset.state = "loading";
    const place = this.nv.volumes.length ? [...this.nv.scene.crosshairPos] : null;
    for (const url of wanted) this.loaded[url] ??= await fetched(url);
    for (const volume of [...this.nv.volumes]) this.nv.removeVolume(volume);
    for (const url of wanted) this.nv.addVolume(this.loaded[url]);
    if (place) this.nv.scene.crosshairPos = place;
    for (const url of Object.keys(this.loaded)) if (!wanted.includes(url)) delete this.loaded[url];
    [this.urls, this.order] = [wanted, roles];
  }

  // A colour for each lesion; the others step back behind one that is selected.
  paint(data) {
    const lesions = this.order.indexOf("lesions");
    if (lesions > 0) {
      const colours = [[0, 0, 0], ...data.colours];
      const alpha = colours.map((_, n) => (n === 0 ? 0 : !data.selected || n === data.selected ? 255 : FAINT));
      const of = (axis) => colours.map((colour) => colour[axis]);
      const labels = colours.map((_, n) => (n ? String(n) : ""));
      const I = colours.map((_, n) => n);
      const volume = this.nv.volumes[lesions];
      volume.setColormapLabel({ R: of(0), G: of(1), B: of(2), A: alpha, I, labels });
      volume.opacity = data.opacity;
    }
    const probability = this.order.indexOf("probability");
    if (probability > 0) {
      const volume = this.nv.volumes[probability];
      Object.assign(volume, { cal_min: LEAST_PROBABILITY, cal_max: 1, opacity: data.opacity });
      volume.setColormap("viridis");
    }
  }

  moved(where) {
    const mm = Array.from(where.mm).slice(0, 3);
    const lesions = this.order ? this.order.indexOf("lesions") : -1;
    this.under = { mm, lesion: lesions > 0 ? Math.round(where.values[lesions]?.value ?? 0) : 0 };
    this.box.dataset.mm = mm.map((each) => each.toFixed(1)).join(" ");
  }

  picked() {
    const under = this.under;
    if (!under?.lesion || under.lesion === this.last) return;
    this.last = under.lesion;
    this.tell.setTriggerValue("picked", { lesion: under.lesion, go: false });
  }

  // n and p go to the next and the previous lesion; arrows and the wheel are NiiVue's.
  keyed(event) {
    const step = { n: 1, p: -1 }[event.key];
    const { colours, selected } = this.wanted;
    if (!step || !colours.length) return;
    const next = selected ? ((selected - 1 + step + colours.length) % colours.length) + 1 : 1;
    this.tell.setTriggerValue("picked", { lesion: next, go: true });
  }

  fail(why) {
    this.box.dataset.state = "failed";
    this.tell.setStateValue("failed", why);
    return false;
  }

  end() {
    this.nv?.cleanup();
    this.box.remove();
  }
}

async function fetched(url) {
  const response = await fetch(url);
  if (!response.ok) throw new Error(`a volume could not be read (${response.status})`);
  return NVImage.loadFromUrl({ url: await response.arrayBuffer(), name: "volume.nii.gz" });
}
