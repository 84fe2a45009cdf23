// Requests to the server. Errors are Errors whose message is the server's sentence.

const POLL = 400; // ms
const LOST = "The server does not answer: is it still running?";

async function reach(path, options) {
  try {
    return await fetch(path, options);
  } catch {
    throw new Error(LOST);
  }
}

async function ask(path, options = {}) {
  const answer = await reach(path, options);
  if (answer.status === 204) return null;
  let said;
  try {
    said = await answer.json();
  } catch {
    throw new Error(`The server answered with status ${answer.status}.`);
  }
  if (!answer.ok) throw new Error(said.error);
  return said;
}

export const about = () => ask("/api/about");

export const sample = async () => (await reach("/sample.jpg")).blob();

// Fails if the server has no longer an image; else it keeps the image for longer.
export const keep = (image) => ask(`/api/images/${image}`);

export const remove = (image) => ask(`/api/images/${image}`, { method: "DELETE" });

// Sends a Blob; the answer has the names of the image and of the job that looks at it.
export const upload = (blob) =>
  ask("/api/images", { method: "POST", body: blob, headers: { "Content-Type": "application/octet-stream" } });

export const predict = (image, boxes, focalLength) =>
  ask(`/api/images/${image}/people`, {
    method: "POST",
    body: JSON.stringify({ boxes, focal_length: focalLength }),
    headers: { "Content-Type": "application/json" },
  });

// The result of a job, once it is done; `tell` gets a sentence about its progress.
export async function result(job, tell) {
  for (;;) {
    const said = await ask(`/api/jobs/${job}`);
    if (said.state === "done") return said.result;
    if (said.state === "failed") throw new Error(said.error);
    const others = said.ahead === 1 ? "1 computation comes" : `${said.ahead} computations come`;
    tell(said.state === "waiting" ? `Waiting: ${others} first` : said.stage);
    await new Promise((done) => setTimeout(done, POLL));
  }
}
