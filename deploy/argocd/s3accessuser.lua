-- Argo CD's health of an S3AccessUser. A key that is being replaced is healthy: the one in the Secret works.
local health = { status = "Progressing", message = "the operator has not looked at it yet" }

local function condition(kind)
  for _, found in ipairs((obj.status or {}).conditions or {}) do
    if found.type == kind then
      return found
    end
  end
end

local ready = condition("Ready")
local stalled = condition("Stalled")

if obj.metadata.deletionTimestamp ~= nil then
  health.message = "is being removed from IAM"
  if stalled ~= nil and stalled.status == "True" then
    health.status = "Degraded"
    health.message = stalled.reason .. ": " .. stalled.message
  end
  return health
end
if ready == nil or obj.status.observedGeneration ~= obj.metadata.generation then
  return health
end

health.message = ready.reason
if ready.message ~= nil and ready.message ~= "" then
  health.message = ready.reason .. ": " .. ready.message
end
if ready.reason == "Suspended" or ready.reason == "Paused" then
  health.status = "Suspended"
elseif stalled ~= nil and stalled.status == "True" then
  health.status = "Degraded"
elseif ready.status == "True" then
  health.status = "Healthy"
end
return health
