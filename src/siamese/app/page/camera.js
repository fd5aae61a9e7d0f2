// A photograph by the camera; it is off again as soon as one is taken.
import { h } from "./dom.js";

export const hasCamera = () => Boolean(navigator.mediaDevices?.getUserMedia);

// The photograph as a JPEG Blob; null where the dialog is closed.
export function takePhotograph() {
  const video = h("video", { autoplay: true, playsinline: true, muted: true, "aria-label": "What the camera sees" });
  const said = h("p", { role: "status", class: "quiet" }, "Waiting for the camera …");
  const take = h("button", { type: "button", class: "main", disabled: true }, "Take the photograph");
  const close = h("button", { type: "button" }, "Cancel");
  const dialog = h("dialog", { class: "camera", "aria-label": "Camera" }, video, said, h("div", { class: "row" }, take, close));
  document.body.append(dialog);
  dialog.showModal();
  let stream = null;
  let over = false;
  return new Promise((done) => {
    const end = (found) => {
      if (over) return;
      over = true;
      stream?.getTracks().forEach((track) => track.stop());
      dialog.close();
      dialog.remove();
      done(found);
    };
    close.addEventListener("click", () => end(null));
    dialog.addEventListener("cancel", () => end(null));
    take.addEventListener("click", () => {
      const canvas = h("canvas", { width: video.videoWidth, height: video.videoHeight });
      canvas.getContext("2d").drawImage(video, 0, 0);
      canvas.toBlob(end, "image/jpeg", 0.95);
    });
    navigator.mediaDevices
      .getUserMedia({ video: { facingMode: "user", width: { ideal: 1280 } }, audio: false })
      .then((found) => {
        stream = found;
        if (over) return found.getTracks().forEach((track) => track.stop());
        video.srcObject = found;
        video.addEventListener("loadeddata", () => {
          take.disabled = false;
          said.textContent = "Look into the camera.";
          take.focus();
        });
      })
      .catch((error) => {
        said.textContent = `The camera cannot be used (${error.name}). Allow it for this page, or choose a file.`;
      });
  });
}
