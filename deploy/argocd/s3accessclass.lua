-- Argo CD's health of an S3AccessClass: whether its account answers.
local health = { status = "Progressing", message = "the operator has not looked at it yet" }

for _, found in ipairs((obj.status or {}).conditions or {}) do
  if found.type == "Ready" and found.observedGeneration == obj.metadata.generation then
    health.message = found.reason .. ": " .. (found.message or "")
    if found.status == "True" then
      health.status = "Healthy"
    elseif found.status == "False" then
      health.status = "Degraded"
    end
  end
end
return health
