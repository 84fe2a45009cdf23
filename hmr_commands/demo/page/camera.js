// An image from the camera of this device.

let stream = null;

export const hasCamera = () => Boolean(navigator.mediaDevices?.getUserMedia);

// Shows what the camera sees in a video element.
export async function start(video) {
  try {
    stream = await navigator.mediaDevices.getUserMedia({ video: { width: { ideal: 1920 } }, audio: false });
  } catch (error) {
    const refused = error.name === "NotAllowedError";
    throw new Error(refused ? "The browser does not allow this page the camera." : "There is no camera to use.");
  }
  video.srcObject = stream;
  await video.play();
}

// The image of now, as a Blob of PNG.
export function take(video) {
  const canvas = document.createElement("canvas");
  canvas.width = video.videoWidth;
  canvas.height = video.videoHeight;
  canvas.getContext("2d").drawImage(video, 0, 0);
  return new Promise((done) => canvas.toBlob(done, "image/png"));
}

export function stop(video) {
  stream?.getTracks().forEach((track) => track.stop());
  stream = null;
  video.srcObject = null;
}
