"use strict";
const slider = document.getElementById("slider");
const slices = Array.from(document.querySelectorAll(".slice"));
function show(index) {
  slices.forEach((slice, i) => { slice.hidden = i !== index; });
  slider.value = index;
}
if (slider && slices.length) {
  slider.max = slices.length - 1;
  slider.parentElement.hidden = false;
  slider.addEventListener("input", () => show(Number(slider.value)));
  document.querySelectorAll("[data-show]").forEach((row) => {
    row.addEventListener("click", () => show(Number(row.dataset.show)));
  });
  show(0);
}
