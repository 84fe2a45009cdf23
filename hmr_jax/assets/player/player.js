/* Shows bodies: GLB files, skinned with one animation each, and a clock, or still; and a camera that mouse, fingers and
   keys turn. rendering/player.py puts it behind three.js into a page, and `scene` before it:
   {models: [{glb: base64, start, end}], duration, rate, fov, aspect, size} (seconds, frames per second, degrees,
   width to height of what the camera sees, metres).
   Bodies are in the axes of glTF, seen along -z: from the origin, where the photograph was taken, or so that a box
   about the origin of a width, height and depth, `size`, is seen. */
"use strict";
(async function () {
  const byId = (id) => document.getElementById(id);
  const canvas = byId("canvas"), slider = byId("time"), button = byId("play"), clock = byId("clock");
  const home = byId("home"), video = byId("video");
  const renderer = new THREE.WebGLRenderer({ canvas, antialias: true, alpha: true });
  renderer.setPixelRatio(window.devicePixelRatio);
  renderer.outputEncoding = THREE.sRGBEncoding;
  const world = new THREE.Scene();
  const camera = new THREE.PerspectiveCamera(scene.fov, 1, 0.05, 500);
  world.add(new THREE.HemisphereLight(0xffffff, 0x777788, 0.25));
  const lamp = new THREE.DirectionalLight(0xffffff, 0.6);
  world.add(lamp, camera);

  const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)).buffer;
  const load = (glb) => new Promise((done, fail) => new THREE.GLTFLoader().parse(bytes(glb), "", done, fail));
  const bodies = [];
  for (const { glb, start, end } of scene.models) {
    const { scene: group, animations } = await load(glb);
    group.traverse((part) => { part.frustumCulled = false; }); // its bounds are those of the rest pose
    const mixer = new THREE.AnimationMixer(group);
    for (const animation of animations) {
      const action = mixer.clipAction(animation);
      action.setLoop(THREE.LoopOnce);
      action.clampWhenFinished = true;
      action.play();
    }
    world.add(group);
    bodies.push({ group, mixer, start, end });
  }

  let time = 0, playing = false, before = 0;
  const view = { target: new THREE.Vector3(0, 0, -3), distance: 3, turn: 0, tilt: 0 };

  function middle() { // of the bodies that are there, or of all
    const seen = bodies.filter((body) => body.group.visible);
    const sum = new THREE.Vector3(), point = new THREE.Vector3();
    const chosen = seen.length ? seen : bodies;
    for (const { group } of chosen) {
      let root = null;
      group.traverse((part) => { root = root || (part.isBone ? part : null); });
      sum.add(root.getWorldPosition(point));
    }
    return chosen.length ? sum.divideScalar(chosen.length) : new THREE.Vector3(0, 0, -3);
  }

  function fitting(width, height, depth) { // metres to the middle of a box that is seen with a margin
    return (1.05 * Math.max(height, width / camera.aspect)) / 2 / Math.tan((camera.fov * Math.PI) / 360) + depth / 2;
  }

  function reset() { // to the place of the photograph's camera, or where all of a still scene is seen
    world.updateMatrixWorld(true);
    const z = scene.size ? 0 : middle().z;
    view.target.set(0, 0, z);
    Object.assign(view, { distance: scene.size ? fitting(...scene.size) : -z, turn: 0, tilt: 0 });
    draw();
  }

  function draw() {
    const flat = view.distance * Math.cos(view.tilt);
    camera.position.set(
      view.target.x + flat * Math.sin(view.turn),
      view.target.y + view.distance * Math.sin(view.tilt),
      view.target.z + flat * Math.cos(view.turn),
    );
    camera.lookAt(view.target);
    lamp.position.copy(camera.position);
    lamp.target.position.copy(view.target);
    lamp.target.updateMatrixWorld();
    renderer.render(world, camera);
  }

  function show(seconds) {
    time = Math.min(Math.max(seconds, 0), scene.duration);
    for (const { group, mixer, start, end } of bodies) {
      group.visible = time >= start - 1e-3 && time <= end + 1e-3;
      mixer.setTime(Math.min(Math.max(time - start, 0), end - start));
    }
    slider.value = time;
    slider.setAttribute("aria-valuetext", `${time.toFixed(2)} seconds`);
    clock.textContent = `${time.toFixed(2)} / ${scene.duration.toFixed(2)} s`;
    draw();
  }

  function jump(seconds) { // by hand
    show(seconds);
    if (video) video.currentTime = Math.min(time + 0.25 / scene.rate, video.duration || time);
  }

  function play(on) {
    playing = on;
    button.textContent = on ? "Pause" : "Play";
    before = performance.now();
    if (on && time >= scene.duration - 0.5 / scene.rate) jump(0);
    if (video) { if (on) video.play().catch(() => {}); else video.pause(); }
    if (on) requestAnimationFrame(tick);
  }

  function tick(now) {
    if (!playing) return;
    const leads = video && !video.paused && !video.ended && !video.error; // a browser may lack the codec
    const next = leads ? video.currentTime : time + (now - before) / 1000;
    before = now;
    show(next);
    if (time >= scene.duration) play(false); else requestAnimationFrame(tick);
  }

  function resize() {
    const { clientWidth: width, clientHeight: height } = canvas;
    renderer.setSize(width, height, false);
    camera.aspect = width / Math.max(height, 1);
    const wider = scene.aspect ? Math.max(scene.aspect / camera.aspect, 1) : 1; // all that the camera saw is seen
    camera.fov = (360 / Math.PI) * Math.atan(wider * Math.tan((scene.fov * Math.PI) / 360));
    camera.updateProjectionMatrix();
    draw();
  }

  function turn(right, up) {
    view.turn -= right;
    view.tilt = Math.min(Math.max(view.tilt + up, -1.55), 1.55);
    draw();
  }

  function move(right, up) {
    const size = 2 * view.distance * Math.tan((camera.fov * Math.PI) / 360) / canvas.clientHeight;
    const side = new THREE.Vector3().setFromMatrixColumn(camera.matrix, 0);
    const rise = new THREE.Vector3().setFromMatrixColumn(camera.matrix, 1);
    view.target.addScaledVector(side, -right * size).addScaledVector(rise, up * size);
    draw();
  }

  function zoom(factor) {
    view.distance = Math.min(Math.max(view.distance * factor, 0.2), 200);
    draw();
  }

  const pointers = new Map();
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    pointers.set(event.pointerId, [event.clientX, event.clientY]);
  });
  for (const end of ["pointerup", "pointercancel"]) {
    canvas.addEventListener(end, (event) => pointers.delete(event.pointerId));
  }
  canvas.addEventListener("pointermove", (event) => {
    const last = pointers.get(event.pointerId);
    if (!last) return;
    const now = [event.clientX, event.clientY], step = [now[0] - last[0], now[1] - last[1]];
    if (pointers.size === 2) { // two fingers: the distance between them zooms, their middle moves
      const [other] = [...pointers].filter(([id]) => id !== event.pointerId).map(([, place]) => place);
      const apart = (place) => Math.hypot(place[0] - other[0], place[1] - other[1]);
      zoom(apart(last) / Math.max(apart(now), 1));
      move(step[0] / 2, step[1] / 2);
    } else if (event.buttons === 2 || event.shiftKey) {
      move(...step);
    } else {
      turn(step[0] / 150, step[1] / 150);
    }
    pointers.set(event.pointerId, now);
  });
  canvas.addEventListener("contextmenu", (event) => event.preventDefault());
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    zoom(Math.exp(event.deltaY / 600));
  }, { passive: false });

  const frame = 1 / scene.rate;
  const keys = {
    ArrowLeft: () => turn(-0.1, 0), ArrowRight: () => turn(0.1, 0), ArrowUp: () => turn(0, 0.1),
    ArrowDown: () => turn(0, -0.1), "+": () => zoom(0.9), "=": () => zoom(0.9), "-": () => zoom(1 / 0.9),
    0: reset, " ": () => play(!playing), ",": () => jump(time - frame), ".": () => jump(time + frame),
  };
  window.addEventListener("keydown", (event) => {
    if (event.target.closest?.("button, input") || !keys[event.key] || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    keys[event.key]();
  });
  slider.max = scene.duration;
  slider.step = frame;
  slider.addEventListener("input", () => { play(false); jump(Number(slider.value)); });
  button.addEventListener("click", () => play(!playing));
  home.addEventListener("click", reset);
  new ResizeObserver(resize).observe(canvas);
  if (!scene.duration) {
    byId("bar").hidden = true;
    canvas.ariaLabel = "Bodies. Arrow keys turn them, plus and minus zoom, 0 returns to the first view.";
  }
  resize();
  show(0);
  reset();
  globalThis.camera = camera; // for whoever inspects the page
  document.documentElement.dataset.ready = bodies.length;
})();
